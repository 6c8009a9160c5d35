"""Connecting to Redis, with bounds on every wait."""

from __future__ import annotations

import sys
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from postroom.errors import InvalidSettings
from postroom.ledger.durability import Durability
from postroom.ledger.transitions import Ledger, Times
from postroom.settings import Settings

_RETRIES = 3
_CONNECT_PART = 0.4
FOREVER_MS = 10**14  # some three thousand years: a score that is never over, and still exact in a double


class _Pool(ConnectionPool):
    """Keeps connections for their next use, unless an answer may still be on its way to one."""

    def release(self, connection: Any) -> None:
        """Take a connection back. After Ctrl-C, or whatever else ends a program, the next one would read its answer."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, Exception):
            connection.disconnect()
        super().release(connection)


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger that the settings name; connects at first use.

    A caller whose Redis is away learns of it within some ten seconds; of one that takes connections, and never answers,
    after four times `redis_timeout_s`. Repeating a command whose answer was lost is safe, since every script is
    idempotent.

    Raises:
        InvalidSettings: a setting cannot be read.
    """
    try:
        pool = _Pool.from_url(
            settings.redis_url,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=_CONNECT_PART * settings.redis_timeout_s,
            socket_keepalive=True,
            health_check_interval=2 * settings.redis_timeout_s,
            retry=Retry(
                ExponentialWithJitterBackoff(base=0.05, cap=1),
                _RETRIES,
                supported_errors=(RedisConnectionError, RedisTimeoutError),
            ),
        )
    except (ValueError, RedisError):
        raise InvalidSettings("POSTROOM_REDIS_URL has to be a redis://, rediss:// or unix:// URL") from None
    if settings.durability not in ("", "synced"):
        raise InvalidSettings("POSTROOM_DURABILITY has to be empty, or `synced`")
    return Ledger(
        Redis.from_pool(pool),
        times(settings),
        memory_part=settings.memory_part,
        durability=Durability(settings.replicas) if settings.durability else None,
    )


def times(settings: Settings) -> Times:
    """Return the ledger's waits and bounds."""
    return Times(
        lease_ms=int(settings.lease_s * 1000),
        bell_ms=int(settings.bell_s * 1000),
        keep_sent_ms=int(settings.keep_sent_s * 1000),
        keep_failed_ms=int(settings.keep_failed_s * 1000) or FOREVER_MS,
        uncertain_max=settings.uncertain_max,
        deaths_max=settings.deaths_max,
        events_max=settings.events_max,
    )
