"""The broker that carries the bells, Redis or RabbitMQ: its queues, and how to be connected to it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import quote

from kombu import Connection, Queue

from postroom.errors import InvalidSettings
from postroom.redis_url import is_sentinel, primary_name, read_servers

QUEUE = "postroom"
BULK_QUEUE = "postroom.bulk"


def _redis(timeout_s: float) -> dict[str, Any]:
    return {
        # Celery takes back what a worker did not acknowledge only after this long; the ledger's leases are far quicker.
        "visibility_timeout": 900,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2 * timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        # A line that swallows all and never breaks is noticed by this: a second more, and it is dropped.
        "health_check_interval": 2 * timeout_s,
        # Fresh single letters first: the order of the queues is the order a worker looks at them.
        "queue_order_strategy": "priority",
    }


def _rabbitmq(timeout_s: float) -> dict[str, Any]:
    return {"read_timeout": 2 * timeout_s, "write_timeout": 2 * timeout_s}


def _sentinel(url: str, timeout_s: float) -> tuple[str, dict[str, Any]]:
    """The URL as Celery spells it, and what else it has to know."""
    servers = read_servers(url, "POSTROOM_BROKER_URL")
    user = f"{quote(servers.username, '')}:{quote(servers.password, '')}@" if servers.password else ""
    nodes = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers.addresses]
    spelled = ";".join(f"sentinel://{user}{node}/{servers.database}" for node in nodes)
    # One that is away is not asked again, but the next.
    asking: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": None}
    if password := servers.options.get("sentinel_password"):
        asking["password"] = password
    own = {"master_name": primary_name(servers, "POSTROOM_BROKER_URL"), "sentinel_kwargs": asking}
    return spelled, own


def is_rabbitmq(url: str) -> bool:
    """True for a broker that speaks AMQP."""
    return url.startswith(("amqp://", "amqps://", "pyamqp://"))


@lru_cache(maxsize=8)
def check(url: str) -> None:
    """Check that Celery can read the URL of a broker, which it else says at the first letter only.

    Raises:
        InvalidSettings: it cannot.
    """
    spelled = _sentinel(url, 0)[0] if is_sentinel(url) else url
    try:
        if "://" not in url:
            raise ValueError  # kombu takes it for the host of a RabbitMQ
        Connection(spelled).get_transport_cls()
    except (KeyError, ValueError):
        known = "redis://…, rediss://…, sentinel://…, amqp://… or amqps://…"
        raise InvalidSettings(f"POSTROOM_BROKER_URL is no URL of a broker: write {known}") from None


def celery_settings(url: str, timeout_s: float, schema: int = 1) -> dict[str, Any]:
    """Return what Celery has to know of a broker, alike for who rings and for who hears.

    Args:
        url: ``redis://``, ``amqp://``, … as Celery spells it; several nodes of RabbitMQ are separated by ``;``,
            Sentinels by a comma.
        timeout_s: how long to wait for a connection, and half of how long for an answer.
        schema: the newest that a worker can read.
    """
    schemas = [f"{QUEUE}.schema-{number}" for number in range(2, schema + 1)]
    options = _rabbitmq(timeout_s) if is_rabbitmq(url) else _redis(timeout_s)
    if is_sentinel(url):
        url, own = _sentinel(url, timeout_s)
        options |= own
    found: dict[str, Any] = {
        "broker_url": url,
        "broker_transport_options": options,
        "broker_connection_timeout": timeout_s,
        # How a worker notices that RabbitMQ has gone without a word; over Redis its health check does.
        "broker_heartbeat": 2 * timeout_s,
        "task_queues": [_queue(url, name) for name in (QUEUE, BULK_QUEUE, *schemas)],
        "task_default_queue": QUEUE,
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
    }
    if url.startswith("amqps://"):
        # The certificate is verified anyway; so is the host's name in it, which is asked for in this way.
        found["broker_use_ssl"] = {"server_hostname": None}
    return found


def schema_queue(url: str, schema: int) -> Queue:
    """Return the queue of letters that older workers could not read."""
    return _queue(url, f"{QUEUE}.schema-{schema}")


def _queue(url: str, name: str) -> Queue:
    # RabbitMQ refuses a queue that is declared in two ways: so here is the only declaration.
    return Queue(name, queue_arguments={"x-queue-type": "quorum"} if is_rabbitmq(url) else None)
