"""Connecting to Redis, with bounds on every wait: to one, to the primary that Sentinels name, or to a cluster."""

from __future__ import annotations

import sys
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from postroom.errors import InvalidSettings
from postroom.ledger.cluster import Client, Cluster
from postroom.ledger.durability import Durability
from postroom.ledger.transitions import Ledger, Times
from postroom.redis_url import Servers, is_cluster, is_sentinel, primary_name, read_servers
from postroom.settings import Settings

_RETRIES = 3
_CONNECT_PART = 0.4
_CLUSTER_PARTITIONS = 16
FOREVER_MS = 10**14  # some three thousand years: a score that is never over, and still exact in a double


class _Unmixed:
    """Keeps connections for their next use, unless an answer may still be on its way to one."""

    def release(self, connection: Any) -> None:
        """Take a connection back. After Ctrl-C, or whatever else ends a program, the next one would read its answer."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, Exception):
            connection.disconnect()
        super().release(connection)  # type: ignore[misc]  # of the pool that it is mixed into


class _Pool(_Unmixed, ConnectionPool):
    pass


class _SentinelPool(_Unmixed, SentinelConnectionPool):
    pass


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger that the settings name; connects at first use.

    A caller whose Redis is away learns of it within some ten seconds; of one that takes connections, and never answers,
    after four times `redis_timeout_s`, and five times for letters in bulk. Repeating a command whose answer was lost is
    safe, since every script is idempotent.

    Raises:
        InvalidSettings: a setting cannot be read.
    """
    if settings.durability not in ("", "synced"):
        raise InvalidSettings("POSTROOM_DURABILITY has to be empty, or `synced`")
    return Ledger(
        connect(settings),
        times(settings),
        settings.partitions or (_CLUSTER_PARTITIONS if is_cluster(settings.redis_url) else 1),
        memory_part=settings.memory_part,
        durability=Durability(settings.replicas) if settings.durability else None,
    )


def connect(settings: Settings) -> Client:
    """Return a client of the Redis, the Sentinels or the cluster that the settings name; connects at first use.

    Raises:
        InvalidSettings: POSTROOM_REDIS_URL cannot be read.
    """
    url = settings.redis_url
    waits = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": _CONNECT_PART * settings.redis_timeout_s,
        "socket_keepalive": True,
    }
    if is_cluster(url):
        return _cluster(read_servers(url, "POSTROOM_REDIS_URL"), waits)
    waits["health_check_interval"] = 2 * settings.redis_timeout_s
    if is_sentinel(url):
        return _sentinel(read_servers(url, "POSTROOM_REDIS_URL"), waits)
    try:
        return Redis.from_pool(_Pool.from_url(url, retry=_retry(), **waits))
    except (ValueError, RedisError):
        raise InvalidSettings(
            "POSTROOM_REDIS_URL has to be a redis://, rediss://, unix://, sentinel:// or redis+cluster:// URL"
        ) from None


def _retry() -> Retry:
    return Retry(
        ExponentialWithJitterBackoff(base=0.05, cap=1),
        _RETRIES,
        supported_errors=(RedisConnectionError, RedisTimeoutError),
    )


def _cluster(servers: Servers, waits: dict[str, Any]) -> Cluster:
    """Its nodes are found by any of those that are named. Only Valkey 9 has databases in a cluster."""
    options = waits | _user(servers)
    if servers.is_tls:
        options |= {"connection_class": SSLConnection, **servers.options}

    def select(connection: Any) -> None:
        connection.send_command("SELECT", servers.database)
        connection.read_response()

    def connected() -> RedisCluster:
        (host, port), *others = servers.addresses
        return RedisCluster(
            # Only when it has a URL does redis-py take a pool of ours.
            url=f"redis://{host}:{port}" if ":" not in host else f"redis://[{host}]:{port}",
            startup_nodes=[ClusterNode(*each) for each in others],  # type: ignore[no-untyped-call]  # of redis-py
            connection_pool_class=_Pool,
            redis_connect_func=select if servers.database else None,
            retry=_retry(),
            **options,
        )

    return Cluster(connected)


def _sentinel(servers: Servers, waits: dict[str, Any]) -> Redis:
    """The primary is asked for anew with each connection."""
    asking = waits | {"retry": None}  # one that is away is not asked again, but the next
    if password := servers.options.get("sentinel_password"):
        asking["password"] = password
    make: Any = Sentinel
    sentinels = make(servers.addresses, sentinel_kwargs=asking)
    found: Redis = sentinels.master_for(
        primary_name(servers, "POSTROOM_REDIS_URL"),
        connection_pool_class=_SentinelPool,
        db=servers.database,
        retry=_retry(),
        **waits,
        **_user(servers),
    )
    return found


def _user(servers: Servers) -> dict[str, str]:
    given = {"username": servers.username, "password": servers.password}
    return {name: value for name, value in given.items() if value}


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
