"""The bell: the queue message that says "letter X is ready". Losing one is harmless, the schedule rings again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from amqp.exceptions import ChannelError
from celery import Celery
from kombu.exceptions import OperationalError

from postroom.ledger import Bell
from postroom.settings import Settings

QUEUE = "postroom"
BULK_QUEUE = "postroom.bulk"
DELIVER = "postroom.deliver"
ACCEPT = "postroom.accept"
PROBE = "postroom.probe"
AWAY = (OperationalError, OSError)
"""What is raised when the broker is away."""

BROKER_OPTIONS = {
    # Celery takes back what a worker did not acknowledge only after this long; the ledger's leases are far quicker.
    "visibility_timeout": 900,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


@lru_cache(maxsize=8)
def publisher(broker: str) -> Celery:
    """Return the Celery app that application code publishes bells through."""
    app = Celery("postroom", broker=broker, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        broker_transport_options=BROKER_OPTIONS,
        broker_connection_timeout=5,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.2},
    )
    return app


class Bells:
    """Rings bells on a broker."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    @classmethod
    def of(cls, settings: Settings) -> Bells:
        """Return the bells of the broker that the settings name."""
        return cls(publisher(settings.broker))

    def ring(self, bell: Bell) -> None:
        """Publish the task of one letter. Its task id is the letter's id; its arguments show no address.

        Raises:
            AWAY: the broker is away; the schedule will ring in its time.
        """
        self._publish([bell.letter_id], bell.letter_id, bell.queue, bell.summary)

    def ring_chunk(self, letter_ids: Sequence[str], queue: str) -> None:
        """Publish one task for several letters: as `ring`; its task id begins with ``chunk-``."""
        self._publish(letter_ids, f"chunk-{letter_ids[0]}", queue, f"{len(letter_ids)} letters")

    def _publish(self, letter_ids: Sequence[str], task_id: str, queue: str, summary: str) -> None:
        self._app.send_task(
            DELIVER,
            args=(list(letter_ids),),
            task_id=task_id,
            queue=queue,
            argsrepr=f"({summary})",
            kwargsrepr="",
            ignore_result=True,
        )

    def probe(self, nonce: str, queue: str, timeout_s: float) -> None:
        """Publish the task of a probe, to see whether what is put on a queue is done: as `ring`.

        Args:
            nonce: how the worker's answer is found in the ledger.
            queue: where to put it.
            timeout_s: seconds after which nobody waits for the answer.
        """
        self._app.send_task(PROBE, args=(nonce,), queue=queue, expires=timeout_s, ignore_result=True)

    def are_all_rung(self) -> bool:
        """True when no bell waits in the queues: then a letter that is not claimed soon has lost its bell.

        Raises:
            AWAY: the broker is away.
        """
        return not any(self.waiting().values())

    def waiting(self) -> dict[str, int]:
        """Return how many bells wait in each queue.

        Raises:
            AWAY: the broker is away.
        """
        with self._app.connection_for_write() as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0)
                return {queue: _waiting(connection, queue) for queue in (QUEUE, BULK_QUEUE)}
            except connection.connection_errors as error:
                raise OperationalError(str(error)) from error


def _waiting(connection: Any, queue: str) -> int:
    """Return how many bells wait in a queue."""
    # A channel of its own: RabbitMQ closes the one that asked for a queue that is not there.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except ChannelError:
            # Nobody declared it yet; or it is empty, for Redis keeps no empty list.
            return 0
