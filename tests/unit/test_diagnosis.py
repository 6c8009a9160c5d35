"""What the facts of an installation mean: each finding that is not well has its remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from postroom.cli import diagnosis
from postroom.finding import Finding, Level
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
