"""Which workers there are: each signs in whenever it looks at the schedule. And whether they do their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from postroom.ledger.availability import available
from postroom.ledger.keys import Keys
from postroom.ledger.record import text
from postroom.ledger.transitions import Ledger

_HERE_MS = 15_000
_REMEMBERED_MS = 3_600_000
_PROBE_KEPT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that signed in during the last hour, and was not stopped in order since."""

    name: str
    version: str
    """Postroom's."""
    seen_ms_ago: int

    @property
    def is_here(self) -> bool:
        """Whether it looked at the schedule just now."""
        return self.seen_ms_ago <= _HERE_MS


def sign_in(ledger: Ledger, name: str, version: str, relays: Sequence[str] = ()) -> None:
    """Say that a worker is here, and looks at the schedule; forget those that nobody has seen for an hour.

    Args:
        ledger: where it signs in.
        name: the worker's.
        version: Postroom's.
        relays: the names of those that it has.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    now_ms = ledger.now_ms()
    with available(), ledger.scripts.mending([Keys.workers(), Keys.relays()]):
        ledger.layout.check()
        pipeline = ledger.redis.pipeline(transaction=False)
        pipeline.zadd(Keys.workers(), {f"{version} {name}": now_ms})
        if relays:
            pipeline.zadd(Keys.relays(), dict.fromkeys(relays, now_ms))
        pipeline.zremrangebyscore(Keys.workers(), 0, now_ms - _REMEMBERED_MS)
        pipeline.zremrangebyscore(Keys.relays(), 0, now_ms - _REMEMBERED_MS)
        pipeline.execute()


def sign_out(ledger: Ledger, name: str, version: str) -> None:
    """Say that a worker has stopped in order.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        ledger.redis.zrem(Keys.workers(), f"{version} {name}")


def workers(ledger: Ledger) -> list[Worker]:
    """Return the workers that signed in during the last hour, by name.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    now_ms = ledger.now_ms()
    with available():
        signed: Any = ledger.redis.zrange(Keys.workers(), 0, -1, withscores=True)
    found = {}
    for member, at_ms in signed:
        version, _, name = text(member).partition(" ")
        found[name] = Worker(name, version, max(0, now_ms - int(at_ms)))  # the latest comes last
    return [found[name] for name in sorted(found)]


def relays(ledger: Ledger) -> set[str]:
    """Return the names of the relays that the workers of the last hour have.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        names: Any = ledger.redis.zrange(Keys.relays(), 0, -1)
    return set(map(text, names))


def answer_probe(ledger: Ledger, nonce: str) -> None:
    """Say that the task of a probe was done.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        ledger.redis.set(Keys.probe(nonce), "done", px=_PROBE_KEPT_MS)


def is_probe_answered(ledger: Ledger, nonce: str) -> bool:
    """Return whether the task of a probe was done.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        return bool(ledger.redis.exists(Keys.probe(nonce)))
