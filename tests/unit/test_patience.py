"""How long claims that ran out are left to their workers after Redis was away."""

from __future__ import annotations

import pytest

from postroom import Settings, clock
from postroom_worker.patience import Patience

SETTINGS = Settings(lease_s=60, timer_s=1)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The steady clock, which a test sets."""
    now = {"s": 1000.0}
    monkeypatch.setattr(clock, "steady_s", lambda: now["s"])
    return now


def looks(patience: Patience, at: dict[str, float], seconds: int) -> list[bool]:
    """Look once a second, and return what is said each time."""
    said = []
    for _ in range(seconds):
        said.append(patience.is_over())
        at["s"] += 1
    return said


def test_a_worker_that_has_just_begun_takes_nobody_for_dead(at: dict[str, float]) -> None:
    assert looks(Patience.of(SETTINGS), at, 12) == [False] * 10 + [True] * 2


def test_nor_one_for_whom_redis_was_away(at: dict[str, float]) -> None:
    patience = Patience.of(SETTINGS)
    looks(patience, at, 20)
    patience.begin_anew()
    assert looks(patience, at, 12) == [False] * 10 + [True] * 2


def test_nor_one_that_stood_still_itself(at: dict[str, float]) -> None:
    patience = Patience.of(SETTINGS)
    looks(patience, at, 20)
    at["s"] += 60
    assert looks(patience, at, 12) == [False] * 10 + [True] * 2


@pytest.mark.parametrize("lease_s", [0.0, 0.3, 60.0])
@pytest.mark.parametrize("timer_s", [0.1, 1.0, 30.0, 120.0])
def test_it_comes_to_an_end_however_seldom_the_schedule_is_looked_at(
    timer_s: float, lease_s: float, at: dict[str, float]
) -> None:
    patience = Patience.of(Settings(lease_s=lease_s, timer_s=timer_s))
    for _ in range(200):
        if patience.is_over():
            return
        at["s"] += timer_s * 1.1
    pytest.fail("it never does")
