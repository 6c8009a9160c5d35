"""The timer of every worker: moves what is due from the schedule to the queue, and forgets what is over."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from celery import bootsteps

from postroom.bell import AWAY, Bells
from postroom.errors import LedgerUnavailable
from postroom.ledger import Ledger, open_ledger
from postroom.ledger.workers import sign_in, sign_out
from postroom.settings import process_settings
from postroom.version import __version__

log = logging.getLogger("postroom")

_RELEASED_AT_ONCE = 500
_FORGOTTEN_AT_ONCE = 200
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
        ledger, bells = open_ledger(settings), Bells(parent.app)
        early_ms = ledger.times.bell_ms - ledger.times.bell_ms // _LOST_BELL_PART
        self._entry = parent.timer.call_repeatedly(settings.timer_s, tick, (ledger, bells, early_ms, parent.hostname))

    def stop(self, parent: Any) -> None:
        """Stop looking."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def shutdown(self, parent: Any) -> None:
        """Be missed no longer: the worker stops in order."""
        with suppress(LedgerUnavailable):
            sign_out(open_ledger(process_settings()), parent.hostname, __version__)


def tick(ledger: Ledger, bells: Bells, early_ms: int, name: str) -> None:
    """Look once. Never raises: what cannot be done now is done at the next look, by this worker or another.

    Args:
        ledger: where the schedule is.
        bells: rung for what is due.
        early_ms: how much before its time a queued letter is rung for again when the queue is empty: then its bell
            was lost.
        name: this worker's.
    """
    try:
        sign_in(ledger, name, __version__)
        is_idle = bells.are_all_rung()
        for bell in ledger.release_due(_RELEASED_AT_ONCE, early_ms if is_idle else 0):
            bells.ring(bell)
        ledger.forget_due(_FORGOTTEN_AT_ONCE)
    except LedgerUnavailable as error:
        log.warning("the schedule waits: %s", error)
    except AWAY as error:
        log.warning("the schedule waits: the broker is away (%s)", error)
