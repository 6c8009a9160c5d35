"""Sending a letter from the command line: ``postroom send``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click

from postroom.cli import output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.look import last_word
from postroom.cli.show import recipients_view
from postroom.receipt import Receipt
from postroom.reply import printable
from postroom.states import LetterState

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("message", required=False)
@click.option("--to", metavar="ADDRESS", multiple=True, help="A recipient, 'Name <address>' or bare; repeatable.")
@click.option("--cc", metavar="ADDRESS", multiple=True, help="A further recipient; repeatable.")
@click.option("--bcc", metavar="ADDRESS", multiple=True, help="A recipient that no other one sees; repeatable.")
@click.option("--from", "from_", metavar="ADDRESS", help="The author; by default what POSTROOM_FROM says.")
@click.option("--subject", "-s", metavar="TEXT")
@click.option("--html", metavar="FILE", type=_FILE, help="The message in HTML, in UTF-8.")
@click.option("--attach", "-a", "attachments", metavar="FILE", type=_FILE, multiple=True, help="Repeatable.")
@click.option("--wait", is_flag=True, help="Wait until everybody got it, or it failed.")
@click.option(
    "--timeout", "timeout_s", metavar="SECONDS", default=60, show_default=True, help="How long to wait, at most."
)
@json_option
@pass_desk
def send(
    desk: Desk,
    message: str | None,
    to: tuple[str, ...],
    cc: tuple[str, ...],
    bcc: tuple[str, ...],
    from_: str | None,
    subject: str | None,
    html: Path | None,
    attachments: tuple[Path, ...],
    wait: bool,
    timeout_s: int,
    as_json: bool,
) -> None:
    """Send a letter, and print its id.

    MESSAGE is the text; without it, or as '-', the text is read from stdin, unless there is --html.
    """
    if not (to or cc or bcc):
        raise click.UsageError("to whom? give --to, --cc or --bcc")
    if not (from_ or desk.postroom.settings.from_):
        raise click.UsageError("from whom? give --from, or set POSTROOM_FROM")
    receipt = desk.postroom.send_letter(
        to,
        message=_text(message, is_needed=html is None),
        cc=cc,
        bcc=bcc,
        from_=from_,
        subject=subject,
        html=html and _read(html),
        attachments=attachments,
    )
    if wait:
        _wait(receipt, timeout_s, as_json=as_json)
    elif as_json:
        output.print_json({"id": receipt.id})
    else:
        click.echo(receipt.id)


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
