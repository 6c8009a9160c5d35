"""Suspensions: what operators let wait, by tag, recipient domain or relay, until a time or until they resume it.

A letter that meets one waits in the schedule, its reason visible, at no cost: neither an attempt, nor of the time after
which it is given up. A suspension is one field of one hash, so that a worker asks for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec

from postroom.ledger.availability import available
from postroom.ledger.keys import Keys
from postroom.ledger.transitions import Ledger
from postroom.ledger.views import scan
from postroom.states import LetterState

Kind = Literal["tag", "domain", "relay"]

HEEDED_S = 1.5
"""Within this time workers have heard of a suspension, or of its end, and recorded what they did until then."""
_AT_ONCE = 500


class Suspension(msgspec.Struct, frozen=True, kw_only=True):
    """What waits, and why."""

    kind: Kind
    name: str
    """A tag; a recipient domain, in lower case and A-labels; or the name of a relay."""
    by: str = ""
    why: str = ""
    at_ms: int = 0
    until_ms: int = 0
    """When it ends by itself, in milliseconds since 1970, by Redis's clock; 0 for when it is resumed."""

    @property
    def what(self) -> str:
        """What is suspended, in words: ``tag spring``."""
        return f"{self.kind} {self.name}"

    def __str__(self) -> str:
        """Return why a letter waits; how it begins says for which suspension."""
        return f"{self.what} is suspended by {self.by or '?'}{f': {self.why}' if self.why else ''}"

    def is_reason(self, reason: str) -> bool:
        """Say whether a letter waits for this one; or, of a relay, because it was down."""
        return reason.startswith(f"{self.what} is ")

    def is_over(self, now_ms: int) -> bool:
        """Say whether it has ended by itself."""
        return 0 < self.until_ms <= now_ms


def suspend(ledger: Ledger, what: Suspension, for_ms: int = 0) -> None:
    """Let the letters that it concerns wait, whether they are there already or come meanwhile.

    Args:
        ledger: where they are.
        what: what waits; one of the same kind and name is replaced. Its times are set here.
        for_ms: for how long; 0 until it is resumed.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    found, now_ms = _all(ledger)
    begun = msgspec.structs.replace(what, at_ms=now_ms, until_ms=now_ms + for_ms if for_ms else 0)
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        for each in found:
            if each.is_over(now_ms):
                pipeline.hdel(Keys.suspensions(), each.what)
        pipeline.hset(Keys.suspensions(), begun.what, msgspec.json.encode(begun))
        pipeline.execute()


def lift(ledger: Ledger, what: Suspension) -> None:
    """End a suspension; what waits for it goes on when its wait is over, or by `make_due`.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        ledger.redis.hdel(Keys.suspensions(), what.what)


def current(ledger: Ledger) -> tuple[list[Suspension], int]:
    """Return the suspensions that have not ended, and Redis's time, in one round trip.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    found, now_ms = _all(ledger)
    return [each for each in found if not each.is_over(now_ms)], now_ms


def make_due(ledger: Ledger, lifted: Suspension, *, by: str, why: str) -> Iterator[int]:
    """Let what waits for a suspension that was lifted go on now; yields how many did, some at a time.

    A worker hears of it within `HEEDED_S`: until then it may put letters aside that are to be made due once more.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    begun_s = ledger.now_ms() / 1000
    waiting = (
        each.id
        for each in scan(ledger, LetterState.DEFERRED)
        if lifted.is_reason(each.reason) and (each.next_attempt_at or 0) > begun_s
    )
    while ids := list(islice(waiting, _AT_ONCE)):
        now_ms = ledger.now_ms()
        event = {"at_ms": now_ms, "event": "resumed", "what": lifted.what, "by": by, "why": why}
        told = msgspec.json.encode(event).decode()
        with available():
            pipeline = ledger.redis.pipeline(transaction=False)
            for letter_id in ids:
                # Only of those that still wait there, never later, and of none that was purged: so it needs no script.
                index = ledger.keys.index_of(letter_id, LetterState.DEFERRED)
                pipeline.zadd(index, {letter_id: now_ms}, xx=True, lt=True, ch=True)
                pipeline.rpushx(ledger.keys.history(letter_id), told)
            yield sum(pipeline.execute()[::2])


def _all(ledger: Ledger) -> tuple[list[Suspension], int]:
    with available(), ledger.scripts.mending([Keys.suspensions()]):
        pipeline = ledger.redis.pipeline(transaction=False)
        pipeline.hvals(Keys.suspensions())
        pipeline.time()
        kept, (seconds, micros) = pipeline.execute()
    found = [msgspec.json.decode(each, type=Suspension) for each in kept]
    return sorted(found, key=lambda each: each.at_ms), int(seconds) * 1000 + int(micros) // 1000
