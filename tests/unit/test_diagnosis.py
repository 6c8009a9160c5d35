"""What the facts of an installation mean: each finding that is not well has its remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from postroom.cli import diagnosis
from postroom.cli.output import moment
from postroom.finding import Finding, Level
from postroom.ledger.events import Event
from postroom.ledger.health import Backlog, RedisFacts
from postroom.ledger.workers import Worker

MIB = 1024 * 1024
WELL = RedisFacts(
    server="valkey",
    version=(9, 1, 0),
    is_append_only=True,
    fsync="everysec",
    write_errors=(),
    eviction="noeviction",
    memory_max=1000 * MIB,
    memory_used=100 * MIB,
    now_ms=0,
)


def of_redis(**changes: Any) -> list[Finding]:
    found = list(diagnosis.of_redis(replace(WELL, **changes)))
    assert all(bool(each.remedy) is (each.level is not Level.OK) for each in found)
    return found


def test_a_redis_that_is_set_up_as_it_should_be_is_well() -> None:
    assert [(each.area, each.level) for each in of_redis()] == [
        ("redis", Level.OK),
        ("persistence", Level.OK),
        ("eviction", Level.OK),
        ("memory", Level.OK),
    ]


@pytest.mark.parametrize(
    ("changes", "area", "level", "says"),
    [
        ({"server": "redis", "version": (6, 0, 16)}, "redis", Level.BAD, "too old"),
        ({"server": "redis", "version": (7, 2, 4)}, "redis", Level.WARN, "CVE-2025-49844"),
        ({"server": "redis", "version": (7, 2, 11)}, "redis", Level.OK, "Redis 7.2.11"),
        ({"version": (8, 1, 3)}, "redis", Level.WARN, "CVE-2025-49844"),
        ({"version": (8, 1, 4)}, "redis", Level.OK, "Valkey 8.1.4"),
        ({"is_append_only": False}, "persistence", Level.BAD, "lost when Redis restarts"),
        ({"fsync": "no"}, "persistence", Level.WARN, "half a minute"),
        ({"fsync": "always"}, "persistence", Level.OK, "cost nothing"),
        ({"fsync": ""}, "persistence", Level.OK, "what appendfsync allows"),
        ({"write_errors": ("aof_last_write_status",)}, "persistence", Level.BAD, "aof_last_write_status"),
        ({"eviction": "allkeys-lru"}, "eviction", Level.BAD, "without a word"),
        ({"eviction": "allkeys-lru", "memory_max": 0}, "eviction", Level.WARN, "harmless only while"),
        ({"memory_max": 0}, "memory", Level.WARN, "no limit"),
        ({"memory_used": 760 * MIB}, "memory", Level.WARN, "76%"),
        ({"memory_used": 1000 * MIB}, "memory", Level.BAD, "new letters are refused beyond 100%"),
    ],
)
def test_what_redis_says_of_itself_is_judged(changes: dict[str, Any], area: str, level: Level, says: str) -> None:
    assert any(each.area == area and each.level is level and says in each.what for each in of_redis(**changes))


@pytest.mark.parametrize(
    ("apart_ms", "level"), [(0, "ok"), (-1900, "ok"), (2500, "warn"), (-2500, "warn"), (90_000, "bad")]
)
def test_clocks_that_differ_are_told(apart_ms: int, level: str) -> None:
    assert diagnosis.of_clocks(1_000_000, 1_000_000 + apart_ms).level == level


def test_what_is_overdue_and_what_waits_long_is_told() -> None:
    def levels(**ages: int) -> list[tuple[str, str]]:
        backlog = Backlog(due={}, **{"longest_queued_ms": 0, "longest_due_ms": 0, **ages})
        return [(each.area, each.level) for each in diagnosis.of_backlog(backlog)]

    assert levels() == [("schedule", "ok")]
    assert levels(longest_due_ms=60_000) == [("schedule", "bad")]
    assert levels(longest_queued_ms=90_000) == [("schedule", "ok"), ("queue", "warn")]


def test_keys_that_were_put_aside_are_told_by_the_names_they_have_now() -> None:
    assert list(diagnosis.of_damaged([])) == []
    [found] = diagnosis.of_damaged([f"postroom:{{{number}}}:events" for number in range(5)])
    assert (found.level, bool(found.remedy)) == (Level.WARN, True)
    assert found.what.endswith("postroom:{1}:events:damaged, postroom:{2}:events:damaged and 2 more")


def test_workers_that_are_lost_or_of_another_version_are_told() -> None:
    here, old, lost = Worker("a@x", "1.0", 900), Worker("b@x", "0.9", 900), Worker("c@x", "1.0", 120_000)
    found = list(diagnosis.of_workers([here, old, lost], "1.0"))
    assert [each.level for each in found] == ["ok", "warn", "warn"]
    assert "0.9" in found[1].what
    assert "2m" in found[2].what
    assert [each.level for each in diagnosis.of_workers([], "1.0")] == ["bad"]
    assert [each.level for each in diagnosis.of_workers([lost], "1.0")] == ["bad", "warn"]


@pytest.mark.parametrize(
    ("answered", "worked", "level"), [(True, False, "ok"), (False, True, "warn"), (False, False, "bad")]
)
def test_a_task_that_is_not_done_is_worse_when_no_letter_moves(answered: bool, worked: bool, level: str) -> None:
    found = diagnosis.of_probe("postroom", 7, answered=answered, timeout_s=5, worked=worked)
    assert found.level == level


def attempts(state: str, reply: str, *at_ms: int) -> list[Event]:
    """Attempts for one recipient each, told of by the stream."""
    return [
        Event(
            f"L{when}",
            {
                "event": "attempt",
                "at_ms": when,
                "state": state,
                "why": "",
                "recipients": [{"address": f"r@{when}.example", "state": "x", "reply": reply.format(when)}],
            },
        )
        for when in at_ms
    ]


HOUR_MS = 3_600_000


def test_attempts_that_reach_nobody_are_told_with_what_is_said_and_since_when() -> None:
    sent = attempts("sent", "250 ok", *range(HOUR_MS - 9000, HOUR_MS - 8000, 500))
    denied = attempts("failed", "554 5.7.1 <r@{}.example>: denied", *range(HOUR_MS - 6000, HOUR_MS, 1000))
    cut = [Event("L", {"event": "attempt", "at_ms": HOUR_MS, "cut": True}), Event("L", {"event": "due", "at_ms": 1})]
    [found] = diagnosis.of_attempts([*sent, *denied, *cut], HOUR_MS)
    since = moment((HOUR_MS - 6000) / 1000)
    assert found.what == f"6 of the last 8 reached nobody, since {since}; 6 of them: 554 5.7.1 <…>: denied"
    assert (found.level, "postroom retry --state failed" in found.remedy) == (Level.BAD, True)
    [found] = diagnosis.of_attempts(attempts("deferred", "451 4.7.1 greylisted", *range(HOUR_MS - 5, HOUR_MS)), HOUR_MS)
    assert (found.level, "by themselves" in found.remedy) == (Level.WARN, True)


def test_a_few_refusals_and_those_of_long_ago_are_no_news() -> None:
    few = attempts("failed", "550 5.1.1 no such mailbox", *range(HOUR_MS - 4, HOUR_MS))
    assert [each.level for each in diagnosis.of_attempts(few, HOUR_MS)] == [Level.OK]
    assert list(diagnosis.of_attempts(attempts("failed", "554 no", *range(9)), HOUR_MS)) == []
