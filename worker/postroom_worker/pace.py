"""The pace: how many letters a process delivers in a turn, and so how many it claims at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom import clock

LETTERS_A_LANE = 4
"""Fewer are not worth a session of their own."""
TURN_S = 0.5
"""How long a chunk goes on, at least: who waits for the worker meanwhile waits as long, or for a few slow letters."""
_FASTER_AT_MOST = 8
_WORK_PART = 8
"""A session that works for less than this part of its time leaves room for others."""
_REMEMBERED_S = 3.0


@dataclass(slots=True)
class Pace:
    """How many letters this process delivers in a turn, as it went lately."""

    least: int
    """Enough to keep all sessions busy."""
    letters: int = 0
    _waited_s: dict[str, float] = field(default_factory=dict)
    """When each relay last kept a session waiting, by the steady clock."""

    def share(self) -> int:
        """Return how many letters to claim at once."""
        return max(self.least, self.letters)

    def learn(self, letters: int, took_s: float) -> None:
        """Take note of how long letters took; fewer than can be told anything by are passed over."""
        if letters >= self.least:
            self.letters = min(int(letters * TURN_S / max(took_s, 1e-6)), _FASTER_AT_MOST * self.share())

    def keeps_waiting(self, relay: str) -> None:
        """Take note that a relay kept a session waiting."""
        self._waited_s[relay] = clock.steady_s()

    def kept_waiting(self, relay: str) -> bool:
        """True when a relay did so lately."""
        return clock.steady_s() - self._waited_s.get(relay, float("-inf")) < _REMEMBERED_S


def is_kept_waiting(worked_s: float, passed_s: float) -> bool:
    """True when a relay, or the ledger, lets a session wait so long that others beside it are worth their cost.

    Args:
        worked_s: seconds of the processor that it has used.
        passed_s: seconds since it began.
    """
    return _WORK_PART * worked_s < passed_s
