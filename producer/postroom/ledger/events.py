"""The events: a capped stream of what happens to all letters, for those who watch. Histories keep them for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from postroom.ledger import streams
from postroom.ledger.availability import available
from postroom.ledger.record import text
from postroom.ledger.streams import BEGINNING, Places
from postroom.ledger.transitions import Ledger


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a letter."""

    letter_id: str
    event: dict[str, Any]
    """As the letter's history has it: ``event``, ``at_ms``, and the keys of that event. A large one has only these two,
    and ``cut``."""


def latest(ledger: Ledger, number: int) -> tuple[list[Event], Places]:
    """Return the latest events, oldest first, and the place to read on from.

    Args:
        ledger: where they are.
        number: how many, at most.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    found: list[Event] = []
    places = {}
    for partition in range(ledger.keys.partitions):
        key = ledger.keys.events(partition)
        with available():
            entries: Any = ledger.redis.xrevrange(key, count=max(1, number))
        places[key] = text(entries[0][0]) if entries else BEGINNING
        found += _events(reversed(entries))
    found.sort(key=_at_ms)
    return found[len(found) - number :] if number < len(found) else found, places


def read_on(ledger: Ledger, places: Places, wait_ms: int) -> tuple[list[Event], Places]:
    """Return what has happened since, some at a time, oldest first, and the place to read on from.

    Args:
        ledger: where it is.
        places: how far it was read.
        wait_ms: how long to wait for something to happen.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    found: list[Event] = []
    further = dict(places)
    for key, entries in streams.read_on(ledger, places, wait_ms).items():
        found += _events(entries)
        further[key] = text(entries[-1][0])
    return sorted(found, key=_at_ms), further


def _at_ms(event: Event) -> int:
    return int(event.event["at_ms"])


def _events(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    return [event for _, fields in entries for event in events_of(fields)]


def events_of(fields: Mapping[bytes, bytes]) -> list[Event]:
    """Return what an entry of the stream tells: one event, or the same of several letters."""
    return [Event(each, msgspec.json.decode(fields[b"event"])) for each in text(fields[b"id"]).split()]
