"""Celery's consumer, mended: as shipped in 5.7.0 the worker exits when Redis goes away at the wrong moment.

With a task in hand and a slot free, the loss of the connection makes Celery close it twice; the second close finds no
transport and ends the process (AttributeError: 'NoneType' object has no attribute 'hostname'), as does a later ack.
Reading the outstanding poll first leaves nothing half-closed. ``tests/chaos/test_redis_restart.py`` shows it.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.utils import threads
from celery.worker.consumer import Consumer as CeleryConsumer

log = logging.getLogger("postroom")

_READ_MAX_S = 1.0


class Consumer(CeleryConsumer):
    """The consumer that survives Redis."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Read what is outstanding, then do what Celery does, and live."""
        _end_poll(self.connection)
        try:
            super().on_connection_error_after_connected(exc)
        except Exception:
            log.exception("the lost connection to the broker could not be cleaned up; going on with a new one")


def _end_poll(connection: Any) -> None:
    channel: Any = getattr(connection, "default_channel", None) if connection is not None else None
    if not getattr(channel, "_in_poll", False):
        return
    if hasattr(threads, "bound_open_broker_sockets"):
        threads.bound_open_broker_sockets(connection, _READ_MAX_S)
    try:
        channel._brpop_read()  # noqa: SLF001  (an answer that was popped is kept, and put back)
    except Exception as error:
        log.debug("the outstanding poll ended with %r", error)
