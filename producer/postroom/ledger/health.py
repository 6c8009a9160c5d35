"""How Redis is set up and how it fares, and what of the ledger is overdue: facts, without a judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from postroom.ledger.availability import available
from postroom.ledger.cluster import Primary, primaries
from postroom.ledger.record import text
from postroom.ledger.transitions import Ledger
from postroom.states import UNSETTLED, LetterState


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """What Redis says of itself."""

    node: str = ""
    """Its host and port in a cluster; empty for one Redis."""
    server: str
    """``redis`` or ``valkey``."""
    version: tuple[int, ...]
    is_append_only: bool
    fsync: str
    """``always``, ``everysec`` or ``no``; empty when it does not say."""
    write_errors: tuple[str, ...]
    """What could not be written to disk last time."""
    eviction: str
    memory_max: int
    """In octets; 0 for no limit."""
    memory_used: int
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What should have happened already; times in milliseconds, 0 for nothing."""

    due: Mapping[LetterState, int]
    """Letters whose time has come, by the state that they wait in."""
    longest_queued_ms: int
    """How long the first letter of the queue has waited for a worker."""
    longest_due_ms: int
    """How long a letter that is due, or whose claim ran out, has waited for the schedule to be looked at."""


def redis_facts(ledger: Ledger) -> list[RedisFacts]:
    """Return what Redis says of itself; in a cluster, what each primary does.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        return [_facts(each) for each in primaries(ledger.redis)]


def _facts(primary: Primary) -> RedisFacts:
    said: Any = primary.redis.info("all")
    seconds, micros = primary.redis.time()
    server = "valkey" if "valkey_version" in said else "redis"
    version = str(said.get(f"{server}_version", "0"))
    written = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
    return RedisFacts(
        node=primary.name,
        server=server,
        version=tuple(int(part) for part in version.split(".") if part.isdigit()),
        is_append_only=bool(said.get("aof_enabled")),
        fsync=_setting(primary.redis, "appendfsync"),
        write_errors=tuple(name for name in written if said.get(name, "ok") != "ok"),
        eviction=str(said.get("maxmemory_policy", "")),
        memory_max=int(said.get("maxmemory", 0)),
        memory_used=int(said.get("used_memory", 0)),
        now_ms=seconds * 1000 + micros // 1000,
    )


def _setting(redis: Redis, name: str) -> str:
    try:
        found: Any = redis.config_get(name)
    except ResponseError:  # those who rent out Redis often forbid it
        return ""
    return text(found.get(name, ""))


def backlog(ledger: Ledger) -> Backlog:
    """Return what should have happened already.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    now_ms = ledger.now_ms()
    due, first = {}, {}
    for state in UNSETTLED:
        due[state], first[state] = _due(ledger, state, now_ms)
    queued_ms = first.pop(LetterState.QUEUED)
    return Backlog(
        due=due,
        longest_queued_ms=0 if queued_ms is None else max(0, now_ms - queued_ms + ledger.times.bell_ms),
        longest_due_ms=max(0, *(now_ms - due_ms for due_ms in first.values() if due_ms is not None), 0),
    )


def _due(ledger: Ledger, state: LetterState, now_ms: int) -> tuple[int, int | None]:
    """How many letters of a state are due, and when the first one is, or was; None when there is none."""
    with available():
        pipeline: Any = ledger.redis.pipeline(transaction=False)
        for partition in range(ledger.keys.partitions):
            index = ledger.keys.index(state, partition)
            pipeline.zcount(index, "-inf", now_ms)
            pipeline.zrange(index, 0, 0, withscores=True)
        answers = pipeline.execute()
    return sum(answers[::2]), min((int(score) for found in answers[1::2] for _, score in found), default=None)
