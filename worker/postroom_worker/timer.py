"""The timer of every worker: moves what is due from the schedule to the queue, and forgets what is over."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from celery import bootsteps

from postroom.bell import AWAY, Bells
from postroom.broker import BULK_QUEUE
from postroom.errors import LedgerUnavailable
from postroom.ledger import Bell, Ledger, open_ledger
from postroom.ledger.clock_jump import shorten_waits
from postroom.ledger.orphans import drop_orphans
from postroom.ledger.unrung import put_back
from postroom.ledger.workers import sign_in, sign_out
from postroom.settings import Settings, process_settings
from postroom.states import LetterState
from postroom.version import __version__
from postroom_worker.patience import Patience
from postroom_worker.relay_file import read_relays

log = logging.getLogger("postroom")

_RELEASED_AT_ONCE = 500
_FORGOTTEN_AT_ONCE = 200
_CHUNK = 100
"""Letters of a bulk that one task carries."""
_FAULT_WAIT_S = 60.0
"""What a letter waits for that could not be tried, through no relay's fault."""
_LOST_BELL_PART = 30
"""A bell whose queue is empty counts as lost after this part of `bell_s`: by default after 30 s."""


class Timer(bootsteps.StartStopStep):
    """A bootstep of the consumer: it starts anew whenever the connection to the broker does."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._entry: Any = None
        # Once: a file of relays that was spoilt since would end the worker.
        self._relays = [each.name for each in read_relays(process_settings())]

    def start(self, parent: Any) -> None:
        """Begin to look at the schedule."""
        settings = process_settings()
        ledger, bells = open_ledger(settings), Bells.of(settings)
        early_ms = ledger.times.bell_ms - ledger.times.bell_ms // _LOST_BELL_PART
        patience = Patience.of(settings)
        arguments = (ledger, bells, early_ms, longest_waits_ms(settings), parent.hostname, self._relays, patience)
        self._entry = parent.timer.call_repeatedly(settings.timer_s, tick, arguments)

    def stop(self, parent: Any) -> None:
        """Stop looking."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def shutdown(self, parent: Any) -> None:
        """Be missed no longer: the worker stops in order."""
        with suppress(LedgerUnavailable):
            sign_out(open_ledger(process_settings()), parent.hostname, __version__)


def longest_waits_ms(settings: Settings) -> dict[LetterState, int]:
    """Return the longest that a letter ever waits for what is to happen next, by state; scheduled ones may for ever."""
    deferred_s = max(settings.retry_max_s, 2 * settings.pause_max_s, _FAULT_WAIT_S)
    waits_s = {
        LetterState.DEFERRED: deferred_s,
        LetterState.QUEUED: settings.bell_s,
        LetterState.SENDING: settings.lease_s,
    }
    return {state: int(1000 * wait_s) for state, wait_s in waits_s.items()}


def tick(
    ledger: Ledger,
    bells: Bells,
    early_ms: int,
    longest_ms: Mapping[LetterState, int],
    name: str,
    relays: Sequence[str] = (),
    patience: Patience | None = None,
) -> None:
    """Look once. Never raises: what cannot be done now is done at the next look, by this worker or another.

    Args:
        ledger: where the schedule is.
        bells: rung for what is due.
        early_ms: how much before its time a queued letter is rung for again when the queue is empty: then its bell
            was lost.
        longest_ms: what `longest_waits_ms` gives.
        name: this worker's.
        relays: the names of its relays.
        patience: what this worker has with claims that ran out; by default none.
    """
    patience = patience or Patience()
    try:
        sign_in(ledger, name, __version__, relays)
        take_over = patience.is_over()
        is_idle = bells.are_all_rung()
        _ring(ledger, bells, ledger.release_due(_RELEASED_AT_ONCE, early_ms if is_idle else 0, take_over=take_over))
        ledger.forget_due(_FORGOTTEN_AT_ONCE)
        drop_orphans(ledger, _FORGOTTEN_AT_ONCE)
        if shortened := shorten_waits(ledger, longest_ms, _RELEASED_AT_ONCE):
            log.warning("the clock of Redis went back: %d letters that it made wait longer wait from now on", shortened)
    except LedgerUnavailable as error:
        patience.begin_anew()
        log.log(logging.ERROR if error.is_alert else logging.WARNING, "the schedule waits: %s", error)
    except AWAY as error:
        log.warning("the schedule waits: the broker is away (%s)", error)


def _ring(ledger: Ledger, bells: Bells, due: Sequence[Bell]) -> None:
    """Ring for letters that are due: those of a bulk in chunks, unless a worker died over one: it goes alone."""
    together = [each.letter_id for each in due if each.queue == BULK_QUEUE and not each.deaths]
    try:
        for start in range(0, len(together), _CHUNK):
            bells.ring_chunk(together[start : start + _CHUNK], BULK_QUEUE)
        for bell in due:
            if bell.queue != BULK_QUEUE or bell.deaths:
                bells.ring(bell)
    except AWAY:
        put_back(ledger, [each.letter_id for each in due])
        raise
