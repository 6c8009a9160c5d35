"""The bell: the queue message that says "letter X is ready". Losing one is harmless, the schedule rings again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from queue import Empty, SimpleQueue
from typing import Any

from amqp.exceptions import InternalError, MessageNacked
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from kombu import Queue
from kombu.exceptions import OperationalError

from postroom import broker, clock
from postroom.ledger import Bell
from postroom.redis_channel import keep_client
from postroom.reply import printable
from postroom.settings import Settings

DELIVER = "postroom.deliver"
ACCEPT = "postroom.accept"
PROBE = "postroom.probe"
AWAY = (OperationalError, OSError)
"""What is raised when the broker is away."""

_CONFIRM_S = 10
_SAID_MAX = 200
_DECLARED_S = 0.5
"""How long to wait for a queue that another process is declaring."""


@lru_cache(maxsize=8)
def publisher(url: str, timeout_s: float) -> Celery:
    """Return the Celery app that bells are published through."""
    app = Celery("postroom", set_as_current=False)
    settings = broker.celery_settings(url, timeout_s)
    app.conf.update(settings, task_publish_retry_policy={"max_retries": 1, "interval_start": 0.2})
    # RabbitMQ says when it has a message on disk; Redis knows no such option. The worker's own app does without: its
    # events would wait too.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "confirm_publish": True}
    return app


def _forget_connections() -> None:
    """Have a child of fork() open connections of its own: two processes that write to one are garbage to RabbitMQ."""
    publisher.cache_clear()
    _idle.cache_clear()


@cache
def _idle(url: str, timeout_s: float) -> SimpleQueue[Any]:
    """Producers that nobody uses now, of this broker and these timeouts."""
    return SimpleQueue()


@contextmanager
def _producer(url: str, timeout_s: float) -> Iterator[Any]:
    """Lend a producer to one thread; one that something went wrong with is not lent again.

    Kombu's own pool is a queue with a lock, which a signal that comes at the wrong moment (Ctrl-C, Celery's soft time
    limit) leaves locked for ever; this queue has none.
    """
    idle, producer = _idle(url, timeout_s), None
    with suppress(Empty):
        producer = idle.get_nowait()
    if producer is None:
        app: Any = publisher(url, timeout_s)
        producer = app.amqp.Producer(app.connection_for_write())
    try:
        yield producer
    except BaseException:
        # What it is connected to may have an answer on its way, or refuse every write after a failover.
        producer.connection.collect()
        raise
    idle.put(producer)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


class Bells:
    """Rings bells on a broker."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s

    @classmethod
    def of(cls, settings: Settings) -> Bells:
        """Return the bells of the broker that the settings name.

        Raises:
            InvalidSettings: its URL cannot be read.
        """
        broker.check(settings.broker)
        return cls(settings.broker, settings.redis_timeout_s)

    def ring(self, bell: Bell) -> None:
        """Publish the task of one letter. Its task id is the letter's id; its arguments show no address.

        Raises:
            AWAY: the broker is away, or refuses; the schedule will ring in its time.
        """
        self._publish(DELIVER, [bell.letter_id], bell.letter_id, bell.queue, bell.summary)

    def ring_chunk(self, letter_ids: Sequence[str], queue: str) -> None:
        """Publish one task for several letters: as `ring`; its task id begins with ``chunk-``."""
        self._publish(DELIVER, list(letter_ids), f"chunk-{letter_ids[0]}", queue, f"{len(letter_ids)} letters")

    def leave(self, letter: Any, message_id: str, schema: int) -> None:
        """Put a letter that came over the queue into the queue of its schema: workers that can read it listen there.

        Raises:
            AWAY: the broker is away, or refuses.
        """
        queue = broker.schema_queue(self._url, schema)
        self._publish(ACCEPT, letter, message_id, queue, f"a letter of schema {schema}")

    def _publish(
        self, task: str, argument: Any, task_id: str, queue: str | Queue, summary: str, expires_s: float | None = None
    ) -> None:
        message = {
            "args": (argument,),
            "task_id": task_id,
            "queue": queue,
            "argsrepr": f"({summary})",
            "kwargsrepr": "",
            "expires": expires_s,
        }
        try:
            self._send(task, message)
        except OperationalError as error:
            if not _is_in_the_making(error):
                raise
            clock.pause(_DECLARED_S)
            self._send(task, message)

    def _send(self, task: str, message: dict[str, Any]) -> None:
        with _others_as_away(), _producer(self._url, self._timeout_s) as producer:
            keep_client(producer.channel)
            publisher(self._url, self._timeout_s).send_task(
                task,
                **message,
                ignore_result=True,
                producer=producer,
                # On Redis a queue is there when something is in it.
                declare=None if broker.is_rabbitmq(self._url) else (),
                confirm_timeout=_CONFIRM_S,
            )

    def probe(self, nonce: str, queue: str, timeout_s: float) -> None:
        """Publish the task of a probe, to see whether what is put on a queue is done: as `ring`.

        Args:
            nonce: how the worker's answer is found in the ledger.
            queue: where to put it.
            timeout_s: seconds after which nobody waits for the answer.
        """
        self._publish(PROBE, nonce, nonce, queue, "a probe", expires_s=timeout_s)

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
        with _others_as_away(), _producer(self._url, self._timeout_s) as producer:
            app: Any = publisher(self._url, self._timeout_s)

            def count() -> dict[str, int]:
                # Declaring tells how many wait; a queue that is not there yet is made, and is empty.
                queues = app.amqp.queues.items()
                return {name: queue.bind(producer.channel).queue_declare().message_count for name, queue in queues}

            found: dict[str, int] = producer.connection.ensure(producer, count, max_retries=1, interval_start=0)()
            return found


def _is_in_the_making(error: BaseException | None) -> bool:
    """True for what RabbitMQ says of a queue that another process is declaring at this moment."""
    while error and not isinstance(error, InternalError | MessageNacked):
        error = error.__cause__
    return error is not None


@contextmanager
def _others_as_away() -> Iterator[None]:
    """Raise as OperationalError whatever kombu raises: after a failover even what no broker said (AttributeError).

    What Celery raises in a caller's task, when its time is over, is no broker's, and the task's to hear.
    """
    try:
        yield
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        raise OperationalError(printable(str(error), _SAID_MAX)) from error
