"""Looking at one letter: ``postroom show``."""

from __future__ import annotations

import sys

import click
import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from postroom.cli import output
from postroom.cli.arguments import LetterId, json_option
from postroom.cli.content import Content, content_of, content_view
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.timeline import timeline
from postroom.errors import NewerSchema
from postroom.kept_letter import kept_letter
from postroom.ledger import Account, LetterStatus
from postroom.ledger.availability import available
from postroom.ledger.views import account, letter_json
from postroom.mime.stored import Stored
from postroom.reply import printable
from postroom.states import LetterState

_LINE_MAX = 1000
_LINES_MAX = 25


@click.command()
@click.argument("letter_id", metavar="ID", type=LetterId())
@click.option("--raw", is_flag=True, help="Print the letter as it goes over the wire; a rejected one as it came.")
@json_option
@pass_desk
def show(desk: Desk, letter_id: str, raw: bool, as_json: bool) -> None:
    """Show a letter: its recipients, its history, and what is in it."""
    found = account(desk.ledger, letter_id)
    is_rejected = found.status.state is LetterState.REJECTED
    if raw:
        _print_octets(_kept(desk, letter_id) if is_rejected else _octets(desk, letter_id))
        return
    content, why_not = (None, "") if is_rejected else _content(desk, letter_id)
    if as_json:
        output.print_json(msgspec.to_builtins(found.status) | {"history": found.history, "content": content})
        return
    shown = content_view(content) if content else output.data(why_not, "dim")
    output.console().print(
        Group(account_view(found), Text(""), _as_it_came(_kept(desk, letter_id)) if is_rejected else shown)
    )


def account_view(account: Account) -> Group:
    """Return a letter's account: what it is, where each recipient stands, and what happened, in order."""
    now_s = account.now_ms / 1000
    parts: list[RenderableType] = [_summary(account.status, now_s)]
    if account.status.recipients:
        parts += [Text(""), recipients_view(account.status)]
    return Group(*parts, Text(""), timeline(account.history))


def _summary(status: LetterStatus, now_s: float) -> Table:
    summary = output.grid()
    summary.add_row("Letter", Text.assemble((status.id, "bold"), "  ", output.state(status.state)))
    summary.add_row("From", output.data(status.sender))
    summary.add_row("Subject", output.data(status.subject))
    accepted = f"{output.moment(status.accepted_at)} {output.zone(status.accepted_at)}"
    summary.add_row("Accepted", f"{accepted}, {output.span(now_s - status.accepted_at)} ago")
    if status.next_attempt_at is not None:
        left_s = status.next_attempt_at - now_s
        due = f"in {output.span(left_s)}" if left_s >= 1 else "due now"
        summary.add_row(
            "Next", Text(f"attempt {status.attempts + 1} at {output.moment(status.next_attempt_at)}, {due}")
        )
    if status.reason:
        summary.add_row("Reason", output.data(status.reason))
    return summary


def recipients_view(status: LetterStatus) -> Table:
    """Return where each recipient of a letter stands."""
    table = output.columns("recipient", "state", "attempts", "last reply")
    for address, each in status.recipients.items():
        table.add_row(output.data(address), output.state(each.state), str(each.attempts), output.data(each.reply))
    return table


def _content(desk: Desk, letter_id: str) -> tuple[Content | None, str]:
    """What is in the letter; or None, and why that cannot be told."""
    try:
        return content_of(_octets(desk, letter_id)), ""
    except click.ClickException as error:
        return None, error.message


def _as_it_came(octets: bytes) -> Group:
    """What was rejected, whatever it is, cut."""
    lines = octets.decode("utf-8", "replace").splitlines()
    more = [Text(f"… and {len(lines) - _LINES_MAX:,} more lines", "dim")] if len(lines) > _LINES_MAX else []
    return Group(Text("As it came", "dim"), *(output.data(line) for line in lines[:_LINES_MAX]), *more)


def _kept(desk: Desk, letter_id: str) -> bytes:
    """The letter as the ledger keeps it.

    Raises:
        ClickException: it is no longer kept.
    """
    kept = letter_json(desk.ledger, letter_id)
    if kept is None:
        raise click.ClickException(f"the content of letter {letter_id} is no longer kept: it was sent")
    return kept


def _octets(desk: Desk, letter_id: str) -> bytes:
    """The letter as it is composed for the wire, but for signatures.

    Raises:
        ClickException: its content is no longer kept, cannot be read, or is damaged.
    """
    kept = _kept(desk, letter_id)

    def read(stored: Stored) -> bytes:
        with available():
            return desk.ledger.contents.read(stored.sha256)

    try:
        return b"".join(kept_letter(kept, read).octets(read))
    except (ValueError, NewerSchema) as error:
        raise click.ClickException(f"letter {letter_id} cannot be composed: {printable(str(error))}") from error


def _print_octets(octets: bytes) -> None:
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(octets)
        return
    for line in octets.decode("utf-8", "replace").split("\r\n"):
        click.echo(printable(line, _LINE_MAX))
