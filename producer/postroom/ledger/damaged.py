"""Keys that somebody else had overwritten and that were put aside, until an operator has looked at and dropped them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from postroom.ledger.availability import available
from postroom.ledger.cluster import Client
from postroom.ledger.keys import Keys
from postroom.ledger.record import text

_NOTED_MAX = 1_000


def note_damaged(redis: Client, key: str) -> None:
    """Take note of a key that was put aside, unless there are too many already: the log has them all."""
    with suppress(ResponseError):  # Redis is full; or this key was overwritten, too
        if redis.scard(Keys.damaged()) < _NOTED_MAX:
            redis.sadd(Keys.damaged(), key)


def damaged(redis: Client) -> list[str]:
    """Return the keys that were put aside and are still there, a thousand at most; forget the others.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        found: Any = redis.smembers(Keys.damaged())
        keys = sorted(map(text, found))
        if not keys:
            return []
        pipeline = redis.pipeline(transaction=False)
        for key in keys:
            pipeline.exists(Keys.put_aside(key))
        kept = [key for key, is_there in zip(keys, pipeline.execute(), strict=True) if is_there]
        if gone := set(keys) - set(kept):
            redis.srem(Keys.damaged(), *gone)
        return kept
