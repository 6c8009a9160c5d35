"""The timer of every worker: moves what is due from the schedule to the queue, and forgets what is over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from celery import bootsteps
from kombu.exceptions import OperationalError

from postroom.bell import Bells
from postroom.broker import BULK_QUEUE
from postroom.errors import LedgerUnavailable
from postroom.ledger import Bell, Ledger, open_ledger
from postroom.settings import process_settings

log = logging.getLogger("postroom")

_RELEASED_AT_ONCE = 500
_FORGOTTEN_AT_ONCE = 200
_CHUNK = 100
"""Letters of a bulk that one task carries."""
_LOST_BELL_PART = 30
"""A bell whose queue is empty counts as lost after this part of `bell_s`: by default after 30 s."""


class Timer(bootsteps.StartStopStep):
    """A bootstep of the consumer: it starts anew whenever the connection to the broker does."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._entry: Any = None

    def start(self, parent: Any) -> None:
        """Begin to look at the schedule."""
        settings = process_settings()
        ledger, bells = open_ledger(settings), Bells.of(settings)
        early_ms = ledger.times.bell_ms - ledger.times.bell_ms // _LOST_BELL_PART
        self._entry = parent.timer.call_repeatedly(settings.timer_s, tick, (ledger, bells, early_ms))

    def stop(self, parent: Any) -> None:
        """Stop looking."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None


def ring(bells: Bells, due: Sequence[Bell]) -> None:
    """Ring for letters that are due: those of a bulk in chunks, unless a worker died over one: it goes alone.

    Raises:
        OSError or kombu's OperationalError: the broker is away; the schedule will ring in its time.
    """
    together = [each.letter_id for each in due if each.queue == BULK_QUEUE and not each.deaths]
    for start in range(0, len(together), _CHUNK):
        bells.ring_chunk(together[start : start + _CHUNK], BULK_QUEUE)
    for bell in due:
        if bell.queue != BULK_QUEUE or bell.deaths:
            bells.ring(bell)


def tick(ledger: Ledger, bells: Bells, early_ms: int) -> None:
    """Look once. Never raises: what cannot be done now is done at the next look, by this worker or another.

    Args:
        ledger: where the schedule is.
        bells: rung for what is due.
        early_ms: how much before its time a queued letter is rung for again when the queue is empty: then its bell
            was lost.
    """
    try:
        is_idle = bells.are_all_rung()
        ring(bells, ledger.release_due(_RELEASED_AT_ONCE, early_ms if is_idle else 0))
        ledger.forget_due(_FORGOTTEN_AT_ONCE)
    except LedgerUnavailable as error:
        log.warning("the schedule waits: %s", error)
    except (OperationalError, OSError) as error:
        log.warning("the schedule waits: the broker is away (%s)", error)
