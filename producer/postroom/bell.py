"""The bell: the queue message that says "letter X is ready". Losing one is harmless, the schedule rings again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from amqp.exceptions import ChannelError
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from postroom.ledger import Bell
from postroom.settings import Settings

QUEUE = "postroom"
BULK_QUEUE = "postroom.bulk"
DELIVER = "postroom.deliver"
ACCEPT = "postroom.accept"


def broker_options(timeout_s: float) -> dict[str, Any]:
    """Return Celery's options for the broker, which has to answer within this time when a connection is made."""
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
    }


def schema_queue(schema: int) -> Queue:
    """Return the queue of letters that older workers could not read."""
    return Queue(f"{QUEUE}.schema-{schema}")


@lru_cache(maxsize=8)
def publisher(broker: str, timeout_s: float = 5.0) -> Celery:
    """Return the Celery app that application code publishes bells through."""
    app = Celery("postroom", broker=broker, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        broker_transport_options=broker_options(timeout_s),
        broker_connection_timeout=timeout_s,
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
        return cls(publisher(settings.broker, settings.redis_timeout_s))

    def ring(self, bell: Bell) -> None:
        """Publish the task of one letter. Its task id is the letter's id; its arguments show no address.

        Raises:
            kombu's OperationalError: the broker is away, or refuses; the schedule will ring in its time.
        """
        self._publish(DELIVER, [bell.letter_id], bell.letter_id, bell.queue, bell.summary)

    def ring_chunk(self, letter_ids: Sequence[str], queue: str) -> None:
        """Publish one task for several letters: as `ring`; its task id begins with ``chunk-``."""
        self._publish(DELIVER, list(letter_ids), f"chunk-{letter_ids[0]}", queue, f"{len(letter_ids)} letters")

    def leave(self, letter: Any, message_id: str, schema: int) -> None:
        """Put a letter that came over the queue into the queue of its schema: workers that can read it listen there.

        Raises:
            kombu's OperationalError: the broker is away, or refuses.
        """
        self._publish(ACCEPT, letter, message_id, schema_queue(schema), f"a letter of schema {schema}")

    def _publish(self, task: str, argument: Any, task_id: str, queue: str | Queue, summary: str) -> None:
        with self._app.producer_or_acquire() as producer:
            try:
                self._app.send_task(
                    task,
                    args=(argument,),
                    task_id=task_id,
                    queue=queue,  # type: ignore[arg-type]  # a Queue is declared, a name has to be known
                    argsrepr=f"({summary})",
                    kwargsrepr="",
                    ignore_result=True,
                    producer=producer,
                )
            except Exception as error:
                # After a failover kombu keeps a connection that refuses every write, or raises what no broker said
                # (AttributeError): it is dropped, and the next bell connects anew.
                producer.connection.collect()
                raise OperationalError(str(error)) from error

    def are_all_rung(self) -> bool:
        """True when no bell waits in the queues: then a letter that is not claimed soon has lost its bell.

        Raises:
            OSError or kombu's OperationalError: the broker is away.
        """
        with self._app.connection_for_write() as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0)
                return not any(_waiting(connection, queue) for queue in (QUEUE, BULK_QUEUE))
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
