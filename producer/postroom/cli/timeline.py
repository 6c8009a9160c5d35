"""A letter's history in words: when, what, by whom and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from postroom.cli import output
from postroom.states import LetterState, RecipientState

Event = Mapping[str, Any]

_WORDS = {
    "queued": "accepted, ready to be sent",
    "scheduled": "accepted, to be sent when its time comes",
    "claimed": "claimed by a worker",
    "due": "due: ready to be sent",
    "waits": "not tried",
    "expired": "too late: nobody else gets it",
    "given_up": "given up",
    "rejected": "rejected",
    "uncertain": "uncertain",
    "died": "its worker was lost, before the relay could have accepted it",
    "retried": "retried",
    "flushed": "flushed",
    "cancelled": "cancelled",
    "held": "held",
    "released": "released",
    "purged": "purged",
    "forgotten": "forgotten: it was over, and kept for long enough",
    "resumed": "resumed",
}


def timeline(history: Iterable[Event]) -> Table:
    """Return everything that happened to a letter, oldest first. An event that is not known here shows by its name."""
    table = output.grid()
    attempts = 0
    for event in history:
        if event["event"] == "attempt":
            told: RenderableType = _attempt(event, counts=event["number"] > attempts)
            attempts = event["number"]
        else:
            told = _happened(event)
        table.add_row(output.moment(event["at_ms"] / 1000), told)
    return table


def in_a_line(event: Event) -> Text:
    """Return what happened in one line; of an attempt, the state it led to and what was said to those it failed for."""
    if event["event"] != "attempt" or event.get("cut"):
        return _what(event)
    state = LetterState(event["state"])
    said = what_was_said(event)
    number = len(event["recipients"])
    told = f"{number:,} recipients, " if number > 1 else ""
    how = f"{told}{event['relay']}, {event['took_ms']:,} ms"
    return Text.assemble(output.state(state), output.data(f" {said}" if said else ""), output.data(f" · {how}", "dim"))


def what_was_said(attempt: Event) -> str:
    """Return why an attempt did not reach somebody; nothing if it did."""
    replies = (each["reply"] for each in attempt["recipients"] if each["state"] != "accepted")
    return str(attempt["why"] or next(replies, ""))


def _what(event: Event) -> Text:
    by = f" by {event['by']}" if event.get("by") else ""
    by += f", through {event['relay']}" if event.get("relay") else ""
    why = f": {event['why']}" if event.get("why") else ""
    kind = str(event["event"])
    what = output.data(_WORDS.get(kind, kind))
    what.stylize("bold")
    return what.append_text(output.data(by + why))


def _happened(event: Event) -> RenderableType:
    return Group(_what(event), *_next(event, event.get("wait_ms")))


def _attempt(event: Event, *, counts: bool) -> RenderableType:
    number = f"attempt {event['number']}" if counts else "attempt that does not count"
    what = Text.assemble((number, "bold"), output.data(f" through {event['relay']}, {event['took_ms']:,} ms"))
    table = output.columns("who", "state", "reply")
    table.show_header = False
    for each in event["recipients"]:
        state = output.state(RecipientState(each["state"]))
        table.add_row(output.data(each["address"]), state, output.data(each["reply"]))
    return Group(what, table, *_next(event, event["next_in_ms"]))


def _next(event: Event, wait_ms: int | None) -> list[Text]:
    if wait_ms is None:
        return []
    due = output.moment((event["at_ms"] + wait_ms) / 1000)
    return [Text(f"next attempt at {due}, {output.span(wait_ms / 1000)} later", "yellow")]
