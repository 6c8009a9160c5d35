"""Relays that are left alone for a while: shared by all workers, and gone by itself when the time is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis

from postroom.ledger.availability import available
from postroom.ledger.keys import Keys

_COUNT_KEPT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Pause:
    """A relay is left alone."""

    left_ms: int
    why: str


def look(redis: Redis, relay: str) -> Pause | None:
    """Return the pause of a relay, or None when it may be used.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        pipeline = redis.pipeline(transaction=False)
        pipeline.get(Keys.relay_pause(relay))
        pipeline.pttl(Keys.relay_pause(relay))
        why, left_ms = pipeline.execute()
    return Pause(max(left_ms, 0), why.decode()) if why is not None else None


def pause(redis: Redis, relay: str, why: str, wait_ms_of: Callable[[int], int]) -> int:
    """Leave a relay alone; a pause that is there already is not prolonged.

    Args:
        redis: the ledger's.
        relay: its name.
        why: what the operator is told.
        wait_ms_of: gives the wait, from how many times in a row the relay was found down.

    Returns:
        the wait, in milliseconds.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        wait_ms = max(1, wait_ms_of(redis.incr(Keys.relay_failures(relay))))
        redis.set(Keys.relay_pause(relay), why, px=wait_ms, nx=True)
        # A relay that serves for a while after its pause begins anew: the count goes by itself.
        redis.pexpire(Keys.relay_failures(relay), 2 * wait_ms + _COUNT_KEPT_MS)
        return wait_ms


def resume(redis: Redis, relay: str) -> None:
    """Use a relay again, and forget its failures.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        redis.delete(Keys.relay_pause(relay), Keys.relay_failures(relay))
