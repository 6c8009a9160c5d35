"""The broker that carries the bells, Redis or RabbitMQ: its queues, and how to be connected to it."""

from __future__ import annotations

from typing import Any

from kombu import Queue

QUEUE = "postroom"
BULK_QUEUE = "postroom.bulk"

_WAIT_S = 10
_CONNECT_S = 5

_REDIS = {
    # Celery takes back what a worker did not acknowledge only after this long; the ledger's leases are far quicker.
    "visibility_timeout": 900,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": _WAIT_S,
    "socket_connect_timeout": _CONNECT_S,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # Fresh single letters first: the order of the queues is the order a worker looks at them.
    "queue_order_strategy": "priority",
}
_RABBITMQ = {"read_timeout": _WAIT_S, "write_timeout": _WAIT_S}


def is_rabbitmq(url: str) -> bool:
    """True for a broker that speaks AMQP."""
    return url.startswith(("amqp://", "amqps://", "pyamqp://"))


def celery_settings(url: str) -> dict[str, Any]:
    """Return what Celery has to know of a broker, alike for who rings and for who hears.

    Args:
        url: ``redis://``, ``amqp://``, … as Celery spells it; several nodes of RabbitMQ are separated by ``;``.
    """
    rabbitmq = is_rabbitmq(url)
    # RabbitMQ refuses a queue that is declared in two ways: so here is the only declaration.
    arguments = {"x-queue-type": "quorum"} if rabbitmq else None
    found: dict[str, Any] = {
        "broker_url": url,
        "broker_transport_options": _RABBITMQ if rabbitmq else _REDIS,
        "broker_connection_timeout": _CONNECT_S,
        # How a worker notices that RabbitMQ has gone without a word; over Redis its health check does.
        "broker_heartbeat": _WAIT_S,
        "task_queues": [Queue(name, queue_arguments=arguments) for name in (QUEUE, BULK_QUEUE)],
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
