"""Connecting to Redis, with bounds on every wait."""

from __future__ import annotations

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from postroom.errors import InvalidSettings
from postroom.ledger.transitions import Ledger, Times
from postroom.settings import Settings

_RETRIES = 3
FOREVER_MS = 10**14  # some three thousand years: a score that is never over, and still exact in a double


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger that the settings name; connects at first use.

    A caller whose Redis is away learns of it within some ten seconds. Repeating a command whose answer was lost is
    safe, since every script is idempotent.

    Raises:
        InvalidSettings: the URL cannot be read.
    """
    try:
        redis = Redis.from_url(
            settings.redis_url,
            socket_timeout=5,
            socket_connect_timeout=2,
            socket_keepalive=True,
            health_check_interval=10,
            retry=Retry(
                ExponentialWithJitterBackoff(base=0.05, cap=1),
                _RETRIES,
                supported_errors=(RedisConnectionError, RedisTimeoutError),
            ),
        )
    except (ValueError, RedisError):
        raise InvalidSettings("POSTROOM_REDIS_URL has to be a redis://, rediss:// or unix:// URL") from None
    return Ledger(redis, times(settings))


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
