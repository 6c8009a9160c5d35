"""How many letters a suspension, or its end, would touch: counted for two seconds, no longer: it is urgent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import Any

from postroom import clock
from postroom.cli import output
from postroom.ledger import Ledger, LetterStatus
from postroom.ledger.query import Query
from postroom.ledger.suspensions import Suspension
from postroom.ledger.views import counts, scan
from postroom.ledger.workers import relays
from postroom.states import LetterState

_COUNT_S = 2.0
_ON_THE_WAY = (LetterState.QUEUED, LetterState.DEFERRED, LetterState.SENDING, LetterState.SCHEDULED)


@dataclass(frozen=True, slots=True)
class Reach:
    """How many letters it touches."""

    letters: int
    looked_at: int | None = None
    """How many letters were looked at in the time there was; None for all."""
    perhaps: int = 0
    """How many more it touches if no other relay may take them."""

    def __str__(self) -> str:
        """Return it in words, to be followed by a verb."""
        told = output.count(self.letters)
        if self.looked_at is not None:
            told += f" of the first {self.looked_at:,} that were looked at, and perhaps others,"
        if self.perhaps:
            told += (
                f", and those of {self.perhaps:,} more on their way that no other relay may take (a worker finds out "
                "which when it reads them),"
            )
        return told


def of_suspending(ledger: Ledger, chosen: Sequence[Suspension]) -> Reach:
    """Return how many letters that are there would wait.

    Where the workers have other relays, too, those are counted that were last tried at the suspended one, or wait for
    it: which relays may take a letter is known to a worker that has read it.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    stopped, there = {each.name for each in chosen if each.kind == "relay"}, relays(ledger)
    on_the_way = sum(number for state, number in counts(ledger).items() if state in _ON_THE_WAY)
    if stopped and there and there <= stopped:
        return Reach(on_the_way)
    queries = [Query(states=_ON_THE_WAY, **_asked(each)) for each in chosen]
    found = _counted(ledger, _ON_THE_WAY, lambda letter: any(each.is_met_by(letter) for each in queries))
    return replace(found, perhaps=max(0, on_the_way - found.letters)) if stopped else found


def of_resuming(ledger: Ledger, chosen: Sequence[Suspension]) -> Reach:
    """Return how many letters wait for nothing but the end of these.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    waiting = (LetterState.DEFERRED,)
    return _counted(ledger, waiting, lambda letter: any(each.is_reason(letter.reason) for each in chosen))


def _asked(of: Suspension) -> dict[str, Any]:
    if of.kind == "tag":
        return {"tags": (of.name,)}
    return {"recipient" if of.kind == "domain" else "relay": of.name}


def _counted(ledger: Ledger, states: Sequence[LetterState], is_touched: Callable[[LetterStatus], bool]) -> Reach:
    until_s = clock.steady_s() + _COUNT_S
    looked_at, found = 0, 0
    for each in takewhile(
        lambda _: clock.steady_s() < until_s, chain.from_iterable(scan(ledger, state) for state in states)
    ):
        looked_at += 1
        found += is_touched(each)
    return Reach(found, None if clock.steady_s() < until_s else looked_at)
