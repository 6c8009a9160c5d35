"""Orders: what operators ask of all workers: what is to wait (suspensions), and what is to be told (traces)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from postroom import clock
from postroom.address import domain_of
from postroom.errors import LedgerUnavailable
from postroom.ledger import Ledger, suspensions, traces
from postroom.ledger.suspensions import Kind, Suspension
from postroom.ledger.traces import Trace
from postroom_worker.limits import NO_WAIT, Wait
from postroom_worker.parcel import Parcel
from postroom_worker.relay import Relay
from postroom_worker.smtp.dialogue import Dialogue

_FRESH_S = 1.0


class Orders:
    """Read from the ledger when they are needed, at most once a second. Safe to share between threads."""

    def __init__(self, ledger: Ledger, longest_ms: int) -> None:
        """Take orders.

        Args:
            ledger: where they are given.
            longest_ms: how long a letter waits at most, until it is looked at again.
        """
        self._ledger = ledger
        self._longest_ms = longest_ms
        self._lock = Lock()
        self._asked_s = float("-inf")
        self._read_s = 0.0
        self._now_ms = 0
        self._suspensions: Sequence[Suspension] = ()
        self._traces: Sequence[Trace] = ()

    def hold_back(self, parcel: Parcel) -> Wait:
        """Leave out of a parcel whom operators let wait; returns what the letter waits for when nobody is left."""
        self._read()
        found = self._find("tag", parcel.letter.tags)
        if found:
            return self._until_over(found)
        wait = NO_WAIT
        for domain in {domain_of(each) for each in parcel.left} if self._suspensions else ():
            if found := self._find("domain", (domain,)):
                wait = self._until_over(found)
                parcel.left = [each for each in parcel.left if domain_of(each) != domain]
        return NO_WAIT if parcel.left else wait

    def relay_wait(self, relay: Relay) -> Wait:
        """Return how long a relay is to be left alone."""
        self._read()
        found = self._find("relay", (relay.name,))
        return self._until_over(found, relay.name) if found else NO_WAIT

    def dialogue(self, relay: Relay, session: str) -> Dialogue | None:
        """Return what tells of a session with a relay; None when nobody wants to know."""
        self._read()
        trace = next((each for each in self._traces if each.relay == relay.name), None)
        if trace is None:
            return None
        return Dialogue(self._teller(relay, session), has_addresses=trace.has_addresses)

    def _teller(self, relay: Relay, session: str) -> Callable[[Sequence[str]], None]:
        def tell(lines: Sequence[str]) -> None:
            self._read()
            if any(each.relay == relay.name for each in self._traces):
                traces.tell(self._ledger, relay.name, session, lines)

        return tell

    def _find(self, kind: Kind, names: Sequence[str]) -> Suspension | None:
        if not self._suspensions:
            return None
        now_ms = self._now_ms + int(1000 * (clock.steady_s() - self._read_s))
        of_kind = (each for each in self._suspensions if each.kind == kind and each.name in names)
        return next((each for each in of_kind if not each.is_over(now_ms)), None)

    def _until_over(self, found: Suspension, relay: str = "") -> Wait:
        left_ms = found.until_ms - self._now_ms if found.until_ms else self._longest_ms
        return Wait(max(1, min(left_ms, self._longest_ms)), str(found), relay=relay, is_suspension=True)

    def _read(self) -> None:
        if clock.steady_s() - self._asked_s < _FRESH_S:
            return
        with self._lock:
            if clock.steady_s() - self._asked_s < _FRESH_S:
                return
            self._asked_s = clock.steady_s()
            try:
                self._suspensions, self._now_ms = suspensions.current(self._ledger)
                self._traces = traces.asked_for(self._ledger)[0]
            except LedgerUnavailable:
                return  # without Redis nothing is sent: no window opens
            self._read_s = clock.steady_s()
