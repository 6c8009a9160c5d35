"""The audit list: which acts operators did on which letters, when, who and why.

It is apart from the letters, and stays when they are purged. The oldest entries make room for new ones.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec

from postroom.ledger.availability import available
from postroom.ledger.keys import Keys
from postroom.ledger.transitions import Ledger

KEPT = 10_000
"""Entries that are kept: two for each act, its begin and its end."""
_PAGE = 100


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An act, as it is written down before it begins."""

    act: str
    by: str
    why: str
    letters: str
    """Which were meant: their ids, or what they were chosen by."""
    number: int
    """How many they were when the operator was told."""
    id: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an act."""

    of: str
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Audited:
    """An entry of the list, with what came of it."""

    at_ms: int
    entry: Entry
    end: End | None
    """None while it goes on; and for ever when the command was killed."""


def begin(ledger: Ledger, entry: Entry) -> None:
    """Write down that an act begins.

    Raises:
        LedgerUnavailable: Redis is away, full or read-only: nothing should be done then.
    """
    _add(ledger, entry)


def end(ledger: Ledger, entry: Entry, *, done: int, failed: int) -> None:
    """Write down what came of an act.

    Raises:
        LedgerUnavailable: Redis is away, full or read-only.
    """
    _add(ledger, End(of=entry.id, done=done, failed=failed))


def latest(ledger: Ledger) -> Iterator[Audited]:
    """Yield what was written down, the latest first, read page by page as it is asked for.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    ends: dict[str, End] = {}
    for start in count(0, _PAGE):
        with available():
            page: Any = ledger.redis.zrange(Keys.audit(), start, start + _PAGE - 1, desc=True, withscores=True)
        for member, at_ms in page:
            found = msgspec.json.decode(member, type=dict)
            if "of" in found:
                ends[found["of"]] = msgspec.convert(found, End)
            else:
                entry = msgspec.convert(found, Entry)
                yield Audited(int(at_ms), entry, ends.pop(entry.id, None))
        if len(page) < _PAGE:
            return


def _add(ledger: Ledger, what: Entry | End) -> None:
    # A member that is added again, since the answer was lost, is there once.
    member = msgspec.json.encode(what)
    at_ms = ledger.now_ms()
    with available(), ledger.scripts.mending([Keys.audit()]):
        pipeline = ledger.redis.pipeline(transaction=False)
        pipeline.zadd(Keys.audit(), {member: at_ms})
        pipeline.zremrangebyrank(Keys.audit(), 0, -KEPT - 1)
        pipeline.execute()
