"""Looking at many letters: ``postroom list``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import click
from rich.console import Group
from rich.text import Text

from postroom.cli import output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.filters import filters, in_words, query
from postroom.ledger import Ledger, LetterStatus
from postroom.ledger.views import counts, listing
from postroom.states import LetterState, RecipientState

_LIMIT = 50
_ROWS_AT_ONCE = 100
_STATE_WIDTH = max(map(len, LetterState))
_GAP = Text("  ", no_wrap=True, overflow="ellipsis")

TELL = {
    LetterState.HELD: "wait for an operator: postroom release, cancel",
    LetterState.FAILED: "reached nobody: postroom retry, purge",
    LetterState.PARTIAL: "reached some of their recipients: postroom retry, purge",
    LetterState.REJECTED: "could not be read: postroom show, purge",
    LetterState.DEFERRED: "will be tried again: postroom flush, hold, cancel",
    LetterState.SENDING: "are with a worker now",
    LetterState.QUEUED: "are ready, and wait for a worker",
    LetterState.SCHEDULED: "wait for their time",
    LetterState.CANCELLED: "were called back",
    LetterState.SENT: "were accepted for every recipient",
}
"""What the letters in a state do, or did; those first that may need somebody."""


REASONED = frozenset({LetterState.HELD, LetterState.REJECTED, LetterState.DEFERRED})
"""In these states a letter's reason, if it has one, is newer than the replies."""


@click.command("list")
@filters(tuple(LetterState))
@click.option("--limit", default=_LIMIT, show_default=True, type=click.IntRange(0), help="How many; 0 for all.")
@json_option
@pass_desk
def list_letters(desk: Desk, /, limit: int, as_json: bool, **options: Any) -> None:
    """List letters, those first that may need you.

    A filter other than --state looks at every letter of the states, tens of thousands a second: name the states.
    """
    asked = query(options, TELL)
    letters = filter(asked.is_met_by, _found(desk.ledger, asked.states))
    shown = 0
    for page in _pages(islice(letters, limit or None)):
        if as_json:
            for status in page:
                output.print_json(status)
        else:
            output.console().print(letters_view(page, desk.ledger.now_ms() / 1000, with_head=not shown))
        shown += len(page)
    if not shown:
        output.note(f"there are no {in_words(asked)}")
    elif asked.is_narrow:
        more = next(letters, None) if shown == limit else None
        if more:
            output.note(f"the first {output.count(shown)}; --limit 0 lists them all")
    elif shown < (total := sum(number for state, number in counts(desk.ledger).items() if state in asked.states)):
        output.note(f"{shown:,} of {output.count(total)}; --limit 0 lists them all")


def _found(ledger: Ledger, states: Iterable[LetterState]) -> Iterator[LetterStatus]:
    for state in states:
        # What is over is asked about soon after; what waits, when its turn is next.
        yield from listing(ledger, state, latest_first=state.is_settled)


def _pages(statuses: Iterator[LetterStatus]) -> Iterator[list[LetterStatus]]:
    while page := list(islice(statuses, _ROWS_AT_ONCE)):
        yield page


def letters_view(statuses: Iterable[LetterStatus], now_s: float, *, with_head: bool = True) -> Group:
    """Return letters, a line each; and below it what was said last, where something was.

    Args:
        statuses: the letters.
        now_s: Redis's time, in seconds since 1970.
        with_head: name the columns.
    """
    letters = list(statuses)
    width = max((len(each.id) for each in letters), default=0)
    lines = []
    if with_head:
        lines.append(_line(f"{'ID':{width}}", Text("STATE"), "AGE", "NEXT", Text("TO · SUBJECT · LAST REPLY")))
        lines[0].stylize("dim")
    for each in letters:
        age, due = output.span(now_s - each.accepted_at), _due(each, now_s)
        lines.append(_line(f"{each.id:{width}}", output.state(each.state), age, due, _letter(each)))
        said = last_word(each)
        if said and each.state is not LetterState.SENT:
            lines.append(_GAP.join([Text(" " * width), output.data(said, "italic")]))
    return Group(*lines)


def _line(letter_id: str, state: Text, age: str, due: str, letter: Text) -> Text:
    state.align("left", _STATE_WIDTH)
    return _GAP.join([Text(letter_id), state, Text(f"{age:>4}"), Text(f"{due:>4}"), letter])


def _due(status: LetterStatus, now_s: float) -> str:
    if status.next_attempt_at is None:
        return ""
    left_s = status.next_attempt_at - now_s
    return output.span(left_s) if left_s >= 1 else "now"


def _letter(status: LetterStatus) -> Text:
    addresses = list(status.recipients)
    more = f" +{len(addresses) - 1}" if len(addresses) > 1 else ""
    to = output.data(addresses[0] + more if addresses else "nobody")
    return Text.assemble(to, (" · ", "dim"), output.data(status.subject))


def last_word(status: LetterStatus) -> str:
    """Return what was last said about a letter: why it is held, waits or was rejected; else the reply that matters."""
    if status.state in REASONED and status.reason:
        return status.reason
    replies = [(each.state is RecipientState.ACCEPTED, each.reply) for each in status.recipients.values() if each.reply]
    worst = min(replies, key=lambda each: each[0], default=(True, ""))
    return (worst[1] if not worst[0] else "") or status.reason or worst[1]
