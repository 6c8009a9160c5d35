"""The breaker: a relay that is down is left alone for a while, by all workers together."""

from __future__ import annotations

import logging
import random

from redis import Redis

from postroom import clock
from postroom.errors import LedgerUnavailable
from postroom.ledger import pauses
from postroom.ledger.pauses import Pause
from postroom.reply import without_addresses
from postroom_worker.backoff import Backoff
from postroom_worker.outcome import Answer, outcome
from postroom_worker.relay import Relay

log = logging.getLogger("postroom")

_FRESH_S = 0.5


class Breaker:
    """Whether one relay may be used now. The truth is in Redis; it is asked at most twice a second."""

    def __init__(self, redis: Redis, relay: Relay, backoff: Backoff) -> None:
        """Watch a relay.

        Args:
            redis: the ledger's.
            relay: which.
            backoff: how long to leave it alone, from how many times in a row it was found down.
        """
        self._redis = redis
        self._relay = relay
        self._backoff = backoff
        self._asked_s = float("-inf")
        self._pause: Pause | None = None

    def look(self) -> Pause | None:
        """Return the relay's pause, or None when it may be used.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        if clock.steady_s() - self._asked_s > _FRESH_S:
            self._pause = pauses.look(self._redis, self._relay.name)
            self._asked_s = clock.steady_s()
        return self._pause

    def trip(self, answer: Answer) -> int:
        """Leave the relay alone because of this answer; returns for how long, in milliseconds."""
        try:
            wait_ms = pauses.pause(self._redis, self._relay.name, str(answer), self._wait_ms)
        except LedgerUnavailable:
            wait_ms = self._wait_ms(1)
        self._asked_s = float("-inf")
        level = logging.ERROR if outcome(answer).alert else logging.WARNING
        log.log(
            level, "relay %s is left alone for %.0f s: %s", self._relay, wait_ms / 1000, without_addresses(str(answer))
        )
        return wait_ms

    def _wait_ms(self, times: int) -> int:
        return self._backoff.wait_ms(times, random.random())  # noqa: S311  (jitter)
