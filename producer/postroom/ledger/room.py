"""Room in Redis: new letters are refused before it is full, so that what became of the others can still be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from postroom import clock
from postroom.errors import LedgerUnavailable
from postroom.ledger.cluster import Client, primaries

_FRESH_S = 1.0


@dataclass(slots=True)
class Room:
    """Watches the memory of Redis, in a cluster of its fullest node; asks once a second at the most."""

    redis: Client
    most: float
    """The part of `maxmemory` beyond which nothing new is taken; 1 or more: Redis itself decides."""
    _asked_s: float = field(default=float("-inf"))
    _used: float = field(default=0.0)

    def check(self) -> None:
        """Return if there is room for a new letter.

        Raises:
            LedgerUnavailable: there is not.
        """
        if self.most >= 1:
            return
        if clock.steady_s() - self._asked_s > _FRESH_S:
            self._used = max(_used(each.redis.info("memory")) for each in primaries(self.redis))
            self._asked_s = clock.steady_s()
        if self._used >= self.most:
            raise LedgerUnavailable(
                f"Redis is {self._used:.0%} full: no new letters beyond {self.most:.0%} (POSTROOM_MEMORY_PART), "
                "so that what becomes of the others can be recorded; give it more memory, or forget letters sooner",
                is_alert=True,
            )


def _used(memory: Mapping[str, Any]) -> float:
    limit = int(memory.get("maxmemory", 0))
    return int(memory["used_memory"]) / limit if limit else 0.0
