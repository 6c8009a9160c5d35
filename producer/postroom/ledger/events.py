"""The events: a capped stream of what happens to all letters, for those who watch. Histories keep them for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from postroom import clock
from postroom.ledger.availability import available
from postroom.ledger.record import text
from postroom.ledger.transitions import Ledger

_AT_ONCE = 500
_BEGINNING = "0-0"
_LOOK_S = 0.2

Places = Mapping[str, str]
"""How far each partition's stream was read: the id of an entry, by the stream's key."""


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
        places[key] = text(entries[0][0]) if entries else _BEGINNING
        found += _events(reversed(entries))
    found.sort(key=lambda each: int(each.event["at_ms"]))
    return found[len(found) - number :] if number < len(found) else found, places


def read_on(ledger: Ledger, places: Places, wait_ms: int) -> tuple[list[Event], Places]:
    """Return what has happened since, some at a time, and the place to read on from.

    Args:
        ledger: where it is.
        places: how far it was read.
        wait_ms: how long to wait for something to happen; below the connection's timeout of 5 s.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    found: list[Event] = []
    further = dict(places)
    for key, entries in _since(ledger, places, wait_ms):
        found += _events(entries)
        further[key] = text(entries[-1][0])
    return found, further


def _since(ledger: Ledger, places: Places, wait_ms: int) -> list[tuple[str, Any]]:
    """The new entries of each stream that has some."""
    if len(places) == 1:
        streams: dict[Any, Any] = dict(places)
        with available():
            answer: Any = ledger.redis.xread(streams, count=_AT_ONCE, block=wait_ms)
        return [(text(key), entries) for key, entries in answer or ()]
    # Nothing waits for streams on several nodes of a cluster.
    until_s = clock.steady_s() + wait_ms / 1000
    while True:
        with available():
            pipeline: Any = ledger.redis.pipeline(transaction=False)
            for key, place in places.items():
                pipeline.xrange(key, f"({place}", count=_AT_ONCE)
            found = [(key, entries) for key, entries in zip(places, pipeline.execute(), strict=True) if entries]
        left_s = until_s - clock.steady_s()
        if found or left_s <= 0:
            return found
        clock.pause(min(_LOOK_S, left_s))


def _events(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    return [event for _, fields in entries for event in events_of(fields)]


def events_of(fields: Mapping[bytes, bytes]) -> list[Event]:
    """Return what an entry of the stream tells: one event, or the same of several letters."""
    return [Event(each, msgspec.json.decode(fields[b"event"])) for each in text(fields[b"id"]).split()]
