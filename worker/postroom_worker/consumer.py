"""Celery's consumer, mended where the worker, as shipped in 5.7.0, exits; and where it does more than it has to.

Redis goes away at the wrong moment: with a task in hand and a slot free, the loss of the connection makes Celery close
it twice; the second close finds no transport and ends the process (AttributeError: 'NoneType' object has no attribute
'hostname'), as does a later ack. Reading the outstanding poll first leaves nothing half-closed.
``tests/chaos/test_redis_restart.py`` shows it.

Garbage comes over the queue: what is no message, or one whose body or headers are not what Celery writes, raises where
nobody expects it. It is logged and dropped. ``tests/integration/test_garbage_on_the_queue.py`` shows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.utils import threads
from celery.worker.consumer import Consumer as CeleryConsumer

from postroom import clock
from postroom.redis_channel import keep_client
from postroom_worker.acknowledgement import acknowledge_letters_alone

log = logging.getLogger("postroom")

_READ_MAX_S = 1.0
_REFUSED_S = 1.0
_EVENTS_S = 0.2
_GARBAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading a malformed message raises."""


class Consumer(CeleryConsumer):
    """The consumer that survives Redis, and whoever else writes to it."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc,valid-type]
        """Without the 28 queues that Celery makes on RabbitMQ for messages that are to come later: ours never are."""

        default_steps = tuple(each for each in CeleryConsumer.Blueprint.default_steps if "delayed_delivery" not in each)

    hub: Any
    event_dispatcher: Any
    _do_events_wait = False

    def connect(self) -> Any:
        """Connect to the broker."""
        self._do_events_wait = False  # whatever was to end that went with the connection before
        connection = super().connect()
        _guard(connection.default_channel)
        return connection

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, to hear bells or to tell events."""
        connection = super().ensure_connected(conn)
        keep_client(connection.default_channel)
        acknowledge_letters_alone(connection.default_channel)
        return connection

    def on_send_event_buffered(self) -> Any:
        """Let events wait for others for a moment: Celery tells each in a message of its own, three for each letter."""
        if not self._do_events_wait:
            self._do_events_wait = True
            self.hub.call_later(_EVENTS_S, self._tell_events)

    def _tell_events(self) -> None:
        self._do_events_wait = False
        if self.event_dispatcher:
            self.event_dispatcher.flush()

    def shutdown(self) -> None:
        """Tell what is not told yet, and close."""
        self._tell_events()
        super().shutdown()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return what is called with each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            try:
                # Ours have none, and a malformed one is noticed only when a slot is free: out of our reach.
                message.headers.pop("timelimit", None)
                handle(message)
            except _GARBAGE:
                log.exception("a message on the queue cannot be read; it is dropped")
                message.reject()

        return on_message

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Say so, and wait: a broker that answers, and refuses, would be asked again without a pause."""
        super().on_connection_error_before_connected(exc)
        clock.pause(_REFUSED_S)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Read what is outstanding, then do what Celery does, and live."""
        _end_poll(self.connection)
        try:
            super().on_connection_error_after_connected(exc)
        except Exception:
            log.exception("the lost connection to the broker could not be cleaned up; going on with a new one")


def _guard(channel: Any) -> None:
    """Let the channel drop what it cannot read. Redis's channel reads its queues by this handler; others have none."""
    handlers: dict[str, Callable[..., Any]] = getattr(channel, "handlers", {})
    read = handlers.get("BRPOP")
    if read is None:
        return

    def read_or_drop(**options: Any) -> Any:
        try:
            return read(**options)
        except _GARBAGE:
            log.exception("what came over the queue is no message; it is dropped")
            return True

    handlers["BRPOP"] = read_or_drop


def _end_poll(connection: Any) -> None:
    # Not `default_channel`: RabbitMQ's would connect anew for it, and raise while the broker is still away.
    channel: Any = getattr(connection, "_default_channel", None)
    if not getattr(channel, "_in_poll", False):
        return
    if hasattr(threads, "bound_open_broker_sockets"):
        threads.bound_open_broker_sockets(connection, _READ_MAX_S)
    try:
        channel._brpop_read()  # noqa: SLF001  (an answer that was popped is kept, and put back)
    except Exception as error:
        log.debug("the outstanding poll ended with %r", error)
