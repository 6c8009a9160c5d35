"""The pace: a process claims as many letters as it delivers in a turn."""

from __future__ import annotations

import pytest

from postroom_worker.pace import TURN_S, Pace, is_kept_waiting


def test_who_has_delivered_nothing_yet_claims_the_least() -> None:
    assert Pace(16).share() == 16


@pytest.mark.parametrize(
    ("letters", "took_s", "share"), [(16, TURN_S, 16), (16, TURN_S / 4, 64), (100, 4 * TURN_S, 25)]
)
def test_it_follows_how_long_letters_took(letters: int, took_s: float, share: int) -> None:
    pace = Pace(16)
    pace.learn(letters, took_s)
    assert pace.share() == share


def test_however_slow_a_relay_is_all_sessions_have_something_to_do() -> None:
    pace = Pace(16)
    pace.learn(16, 1000 * TURN_S)
    assert pace.share() == 16


def test_however_fast_it_is_it_grows_by_steps() -> None:
    pace = Pace(16)
    pace.learn(16, 0.0)
    assert pace.share() == 8 * 16


def test_a_letter_alone_tells_nothing() -> None:
    pace = Pace(16)
    pace.learn(1, TURN_S)
    assert pace == Pace(16)


@pytest.mark.parametrize(
    ("worked_s", "passed_s", "is_waiting"),
    [(0.004, 0.005, False), (0.004, 0.03, False), (0.004, 0.05, True), (0.0, 0.001, True)],
)
def test_a_session_that_waits_far_longer_than_it_works_leaves_room_for_others(
    worked_s: float, passed_s: float, is_waiting: bool
) -> None:
    assert is_kept_waiting(worked_s, passed_s) is is_waiting
