"""When to try again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postroom import Settings
from postroom_worker.backoff import Backoff

BACKOFF = Backoff(first_s=60, max_s=3600)


def test_each_wait_is_twice_as_long_up_to_the_longest() -> None:
    longest = [BACKOFF.wait_ms(attempt, 1.0) // 1000 for attempt in range(1, 10)]
    assert longest == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


@pytest.mark.parametrize("attempt", [1, 2, 5, 20])
def test_chance_draws_from_the_upper_half(attempt: int) -> None:
    waits = [BACKOFF.wait_ms(attempt, random / 10) for random in range(11)]
    assert waits == sorted(waits)
    assert waits[0] * 2 == waits[-1]


@pytest.mark.parametrize("attempt", [-1, 0, 1])
def test_there_is_no_wait_shorter_than_the_first(attempt: int) -> None:
    assert BACKOFF.wait_ms(attempt, 0) == 30_000


def test_the_thousandth_attempt_waits_no_longer_than_the_longest() -> None:
    assert BACKOFF.wait_ms(1000, 1.0) == 3_600_000
    assert BACKOFF.wait_ms(10**9, 1.0) == 3_600_000


def test_a_longest_wait_below_the_first_one_holds() -> None:
    assert Backoff(first_s=60, max_s=10).wait_ms(1, 1.0) == 10_000


def test_letters_and_relays_wait_as_the_settings_say() -> None:
    settings = Settings(retry_first_s=1, retry_max_s=2, pause_first_s=3, pause_max_s=4)
    assert Backoff.of_letters(settings) == Backoff(1, 2)
    assert Backoff.of_relays(settings) == Backoff(3, 4)


def test_the_waits_that_the_docs_name_for_it_are_those_of_rfc_5321() -> None:
    """At least 30 minutes between attempts, at least twice in the first hours, at least four days (§4.5.4.1)."""
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text("utf-8")
    named = dict(re.findall(r"^ +(POSTROOM_[A-Z_]+)=(\d+)$", page, re.MULTILINE))
    settings = Settings.from_environment(named)
    waits_s = [
        Backoff.of_letters(settings).wait_ms(attempt, part) / 1000 for attempt in range(1, 40) for part in (0, 1)
    ]
    assert min(waits_s) >= 30 * 60
    assert max(waits_s) <= 3 * 3600
    assert 4 * 86_400 <= settings.give_up_s <= 5 * 86_400
