"""Chance: what spreads waits, so that not all come back at once. No seed that others set makes it the same for all."""

from __future__ import annotations

from random import SystemRandom

_system = SystemRandom()


def part() -> float:
    """Return a number from 0 to 1."""
    return _system.random()
