"""The breaker: how a relay stands with all workers together, and what its answers change about that."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from threading import Lock

from postroom import clock
from postroom.errors import LedgerUnavailable
from postroom.ledger import Ledger
from postroom.ledger.relays import Standing
from postroom.reply import gist, without_addresses
from postroom.settings import Settings
from postroom_worker import chance
from postroom_worker.backoff import Backoff
from postroom_worker.outcome import Answer, Hint, Phase, outcome
from postroom_worker.relay import Relay

log = logging.getLogger("postroom")

_FRESH_S = 0.5
_MEASURED_S = 10.0
_REMEMBERED_MS = 10_000
_ABOUT_A_DOMAIN = (Phase.RCPT, Phase.DATA, Phase.CONTENT)


class Breaker:
    """One relay, seen from one process. The truth is in Redis; it is asked at most twice a second."""

    def __init__(self, ledger: Ledger, relay: Relay, settings: Settings) -> None:
        """Watch a relay."""
        self.relay = relay
        self._about = {"relay": relay.name}
        self._ledger = ledger
        self._backoff = Backoff.of_relays(settings)
        self._probe_ms = ledger.times.lease_ms
        self._sessions = settings.sessions
        self._rise_ms = max(1, int(settings.slow_s * 1000))
        self._refusals_max = settings.refusals_max
        self._nonce = secrets.token_hex(8)
        self._lock = Lock()
        self._asked_s = float("-inf")
        self._standing = Standing("closed")
        self._probing_until_s = 0.0
        """When a probe of ours is another's, by the steady clock; 0 when there is none."""
        self._since_s = clock.steady_s()
        self._handed_over: Counter[str] = Counter()

    def look(self, *, may_probe: bool = True) -> Standing:
        """Return how the relay stands now. `probe` is said to one letter alone: the next has to wait for it.

        Args:
            may_probe: False to look only.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with self._lock:
            passed_s = clock.steady_s() - self._asked_s
            left_ms = self._standing.left_ms - 1000 * passed_s
            if passed_s <= _FRESH_S and not (self._standing.state == "open" and left_ms <= 0):
                return self._standing if self._standing.left_ms <= 0 else self._standing.later(left_ms)
            # A letter that was to probe may not have been sent after all: like anybody else's, its probe has an end.
            nonce = self._nonce if may_probe and clock.steady_s() >= self._probing_until_s else ""
            found = self._ledger.relays.knock(self.relay.name, nonce, self._probe_ms, self._rise_ms)
            if nonce or found.state != "half-open":
                self._asked_s = clock.steady_s()  # who only looked may find that it is to probe
            self._standing = found
            if found.state in ("probe", "half-open"):
                # The probe may be over in no time: who waits for it asks again soon.
                self._standing = replace(found, state="half-open", left_ms=int(1000 * self._backoff.first_s))
            if found.state == "probe":
                self._probing_until_s = clock.steady_s() + self._probe_ms / 1000
                return found
            return self._standing

    def trip(self, answer: Answer) -> int:
        """Leave the relay alone because of this answer; returns for how long, in milliseconds."""
        alert = outcome(answer).alert or outcome(answer).hint is Hint.US
        why = without_addresses(str(answer))  # all who wait for it say so
        wait_ms = self._backoff.wait_ms(self._standing.trips + 1, chance.part())
        try:
            wait_ms = self._ledger.relays.trip(self.relay.name, max(1, wait_ms), why, alert=alert)
        except LedgerUnavailable as error:
            log.warning("relay %s: others do not learn that it is down (%s)", self.relay, error, extra=self._about)
        with self._lock:
            self._probing_until_s = 0.0
            self._asked_s = float("-inf")
        level = logging.ERROR if alert else logging.WARNING
        about = {**self._about, "reply": why}
        log.log(level, "relay %s is left alone for %.1f s: %s", self.relay, wait_ms / 1000, why, extra=about)
        return wait_ms

    def serves(self, domains: set[str]) -> None:
        """Take note that it answered as a relay does that serves us, for recipients at these domains."""
        with self._lock:
            self._handed_over.update(domains | {""})
            was_probing, self._probing_until_s = self._probing_until_s > 0, 0.0
        if was_probing:
            self._tell(lambda: self._ledger.relays.mend(self.relay.name, self._nonce, self._remember_ms()))
            log.info("relay %s serves again", self.relay, extra=self._about)
            self._asked_s = float("-inf")

    def passes_probe(self) -> None:
        """Leave the probe to another letter, when the one that was to probe has had no answer: none is under way."""
        with self._lock:
            was_probing, self._probing_until_s = self._probing_until_s > 0, 0.0
        if was_probing:
            self._tell(lambda: self._ledger.relays.pass_probe(self.relay.name, self._nonce))
            self._asked_s = float("-inf")

    def accepts(self) -> None:
        """Take note that it accepted a letter: it does not refuse everything."""
        if self._standing.refusals:
            self._tell(lambda: self._ledger.relays.serves(self.relay.name))
            self._standing = replace(self._standing, refusals=0)

    def brakes(self, answer: Answer) -> bool:
        """Count a refusal about us; True when there were too many alike in a row: then it is no letter's fault."""
        said = hashlib.blake2b(gist(str(answer)).encode(), digest_size=8).hexdigest()
        try:
            count = self._ledger.relays.refuse(self.relay.name, said)
        except LedgerUnavailable:
            return False
        self._standing = replace(self._standing, refusals=count)
        return count >= self._refusals_max

    def slow(self, answer: Answer, domain: str) -> None:
        """Lower the rate, of this domain's letters or of all: the relay asked for less."""
        domain = domain if answer.phase in _ABOUT_A_DOMAIN and getattr(answer.met, "code", 0) != 421 else ""
        measured = self._measured_per_s(domain)
        self._tell(lambda: self._ledger.relays.slow(self.relay.name, domain, measured, self._rise_ms))
        self._asked_s = float("-inf")
        told, about = without_addresses(str(answer.met)), self._about
        log.warning("relay %s asks for less%s: %s", self.relay, domain and f" for {domain}", told, extra=about)

    def _measured_per_s(self, domain: str) -> float:
        """The rate at which letters were handed over lately: ours, times the processes that have sessions there."""
        with self._lock:
            now_s = clock.steady_s()
            rate = self._handed_over[domain] / max(1.0, now_s - self._since_s)
            if now_s - self._since_s > _MEASURED_S:
                self._since_s = now_s
                self._handed_over.clear()
        return rate * max(1, self._standing.sessions // self._sessions)

    def _remember_ms(self) -> int:
        return 2 * self._backoff.wait_ms(self._standing.trips, 1.0) + _REMEMBERED_MS

    def _tell(self, tell: Callable[[], object]) -> None:
        try:
            tell()
        except LedgerUnavailable as error:
            log.warning("relay %s: others do not learn how it stands (%s)", self.relay, error, extra=self._about)
