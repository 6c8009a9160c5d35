"""Sending a letter from the command line: ``postroom send``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

import click

from postroom.cli import output
from postroom.cli.arguments import Moment, Span, json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.look import last_word
from postroom.cli.mailing import send_rows
from postroom.cli.show import recipients_view
from postroom.keywords import POLICIES, PRIORITIES
from postroom.letter import Letter
from postroom.receipt import Receipt
from postroom.reply import printable
from postroom.states import LetterState

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILE_OR_STDIN = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)
_CONTENT = (
    "message",
    "cc",
    "bcc",
    "from_",
    "reply_to",
    "subject",
    "html",
    "attachments",
    "headers",
    "list_unsubscribe",
)
"""What a message that is ready has already."""


class HeaderField(click.ParamType[tuple[str, str]]):
    """A header field: ``Name: value``."""

    name = "field"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, colon, body = value.partition(":")
        if not colon:
            self.fail(f"{value!r} is no header field: write 'Name: value'", param, ctx)
        return name.strip(), body.strip()


@click.command()
@click.argument("message", required=False)
@click.option("--to", metavar="ADDRESS", multiple=True, help="A recipient, 'Name <address>' or bare; repeatable.")
@click.option("--cc", metavar="ADDRESS", multiple=True, help="A further recipient; repeatable.")
@click.option("--bcc", metavar="ADDRESS", multiple=True, help="A recipient that no other one sees; repeatable.")
@click.option("--from", "from_", metavar="ADDRESS", help="The author; by default what POSTROOM_FROM says.")
@click.option("--reply-to", metavar="ADDRESS", multiple=True, help="Where answers go; repeatable.")
@click.option("--subject", "-s", metavar="TEXT")
@click.option("--html", metavar="FILE", type=_FILE, help="The message in HTML, in UTF-8.")
@click.option("--attach", "-a", "attachments", metavar="FILE", type=_FILE, multiple=True, help="Repeatable.")
@click.option(
    "--header", "headers", type=HeaderField(), multiple=True, help="A header field, 'Name: value'; repeatable."
)
@click.option(
    "--list-unsubscribe", metavar="URL", multiple=True, help="https: or mailto:, to unsubscribe by; repeatable."
)
@click.option("--eml", metavar="FILE", type=_FILE_OR_STDIN, help="A message that is ready, or '-' for stdin: as it is.")
@click.option("--csv", "table", metavar="FILE", type=_FILE, help="A letter for each row: {name} is what it has there.")
@click.option(
    "--chunk", default=100, show_default=True, type=click.IntRange(1), help="With --csv: letters that one task carries."
)
@click.option("--dry-run", "-n", is_flag=True, help="With --csv: only check all rows, and count them.")
@click.option("--at", "send_at", metavar="WHEN", type=Moment(ahead=True), help="When: 2h, or 2026-11-30T08:00.")
@click.option("--expires-in", metavar="SPAN", type=Span(), help="After that it is worthless, and not sent: 10m, 2h.")
@click.option("--priority", default="normal", show_default=True, type=click.Choice(PRIORITIES))
@click.option(
    "--on-uncertain", default="resend", show_default=True, type=click.Choice(POLICIES), help="If it may have arrived."
)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A word to find it by; repeatable.")
@click.option("--idempotency-key", metavar="KEY", help="Letters with the same key are one letter.")
@click.option("--envelope-from", metavar="ADDRESS", help="Where reports of failure return; '<>' for nowhere.")
@click.option("--relay", metavar="NAME", help="The relay to use.")
@click.option("--wait", is_flag=True, help="Wait until everybody got it, or it failed.")
@click.option(
    "--timeout", "timeout_s", metavar="SECONDS", default=60, show_default=True, help="How long to wait, at most."
)
@json_option
@pass_desk
def send(
    desk: Desk,
    /,
    eml: Path | None,
    table: Path | None,
    chunk: int,
    dry_run: bool,
    wait: bool,
    timeout_s: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Send a letter, and print its id.

    MESSAGE is the text; without it, or as '-', the text is read from stdin, unless there is --html. With --eml, the
    recipients are those of --to, or else those that the message names.

    With --csv, each row of a table gets a letter, behind all letters that are sent alone. Its first line names the
    fields; {name} stands for what a row has there, in addresses, subject, text, html, header fields, unsubscribe URLs
    and the idempotency key: --csv people.csv --to '{name} <{email}>' 'Dear {name}, …'. All rows are checked first.
    """
    if given["expires_in"]:
        given["expires_in"] /= 1000
    if table:
        if eml or wait:
            raise click.UsageError(f"--csv sends many letters: leave out {'--eml' if eml else '--wait'}")
        send_rows(desk, table, _merging(desk, given), chunk=chunk, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        raise click.UsageError("--dry-run is for --csv")
    letter = _ready(desk, eml, given) if eml else _composed(desk, given)
    receipt = desk.postroom.send(letter)
    if wait:
        _wait(receipt, timeout_s, as_json=as_json)
    elif as_json:
        output.print_json({"id": receipt.id})
    else:
        click.echo(receipt.id)


def _composed(desk: Desk, given: dict[str, Any]) -> Letter:
    """The letter that flags, and stdin, describe.

    Raises:
        UsageError: something is missing.
        InvalidLetter: it cannot be sent.
    """
    return Letter(**_with_bodies(desk, given), settings=desk.postroom.settings)


def _merging(desk: Desk, given: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a mail-merge: as `_with_bodies`, the text in hand."""
    found = _with_bodies(desk, given)
    if found["message"] is not None and not isinstance(found["message"], str):
        found["message"] = found["message"].read().decode()
    return found


def _with_bodies(desk: Desk, given: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a letter, its bodies among them.

    Raises:
        UsageError: something is missing.
    """
    if not (given["to"] or given["cc"] or given["bcc"]):
        raise click.UsageError("to whom? give --to, --cc or --bcc")
    if not (given["from_"] or desk.postroom.settings.from_):
        raise click.UsageError("from whom? give --from, or set POSTROOM_FROM")
    html: Path | None = given["html"]
    message = _text(given["message"], is_needed=html is None)
    return given | {"message": message, "html": _read(html) if html else None}


def _ready(desk: Desk, eml: Path, given: dict[str, Any]) -> Letter:
    """The message that is ready.

    Raises:
        UsageError: flags would change it.
        InvalidLetter: it cannot be sent.
    """
    if flags := [name for name in _CONTENT if given.pop(name)]:
        raise click.UsageError(f"--eml is sent as it is: leave out {', '.join(flags).replace('_', '-')}")
    octets = sys.stdin.buffer.read() if str(eml) == "-" else eml.read_bytes()
    to = given.pop("to")
    return Letter.from_bytes(octets, to=to or None, **given, settings=desk.postroom.settings)


def _text(message: str | None, *, is_needed: bool) -> str | IO[bytes] | None:
    if message is None and not is_needed:
        return None
    if message not in (None, "-"):
        return message
    if sys.stdin.isatty():
        output.note("the text of the letter, then Ctrl-D:")
    return sys.stdin.buffer


def _read(html: Path) -> str:
    try:
        return html.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--html: octet {error.start} of {html} is not UTF-8") from error


def _wait(receipt: Receipt, timeout_s: int, *, as_json: bool) -> None:
    """Wait, and tell what became of the letter.

    Raises:
        ClickException: not everybody got it, so far.
    """
    if not as_json:
        click.echo(receipt.id)  # first, for whoever does not want to wait any longer
    status = receipt.wait(timeout_s)
    if as_json:
        output.print_json(status)
    else:
        output.console().print(recipients_view(status))
    if status.state is not LetterState.SENT:
        still = "" if status.state.is_settled else f"after {timeout_s:g} s still "
        raise click.ClickException(f"letter {receipt.id} is {still}{status.state}: {printable(last_word(status))}")
