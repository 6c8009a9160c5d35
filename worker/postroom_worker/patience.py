"""Patience: while Redis was away no claim could be renewed, so for a while after it nobody is taken for dead."""

from __future__ import annotations

from dataclasses import dataclass

from postroom import clock
from postroom.settings import Settings

_LEASE_PART = 6
"""By default ten seconds: who lives renews its claims, and records what it delivered, within two of Redis's return."""
_APART_S = 1.0


@dataclass(slots=True)
class Patience:
    """What one worker has with claims that ran out: none, once it has seen Redis answer for long enough."""

    needed_s: float = 0.0
    """For how long Redis has to have answered at every look."""
    apart_s: float = float("inf")
    """What lies between two looks at most: who looked away for longer does not know what happened meanwhile."""
    _since_s: float = 0.0
    _last_s: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """Return the patience of a worker that looks at the schedule as often as the settings say."""
        needed_s = settings.lease_s / _LEASE_PART
        return cls(needed_s, 2 * settings.timer_s + max(_APART_S, needed_s))

    def is_over(self) -> bool:
        """Take note that Redis answers now; True when claims that ran out may be taken over."""
        now_s = clock.steady_s()
        if self._last_s is None or now_s - self._last_s > self.apart_s:
            self._since_s = now_s
        self._last_s = now_s
        return now_s - self._since_s >= self.needed_s

    def begin_anew(self) -> None:
        """Take note that Redis does not answer."""
        self._last_s = None
