"""The Celery tasks. A task's state shows in the monitor what became of its letter: SUCCESS, RETRY or FAILURE."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Task
from celery.exceptions import Ignore, OperationalError, Reject, Retry
from celery.signals import worker_process_shutdown, worker_shutdown

from postroom import clock
from postroom.bell import ACCEPT, DELIVER, PROBE, Bells
from postroom.broker import BULK_QUEUE
from postroom.errors import InvalidLetter, InvalidSettings, LedgerUnavailable, NewerSchema, PostroomError
from postroom.ledger.workers import answer_probe
from postroom.letter_id import check_id
from postroom.states import LetterState
from postroom_worker.acceptance import accept_letter
from postroom_worker.app import app
from postroom_worker.chunk_rows import tell_of_delayed
from postroom_worker.office import office
from postroom_worker.outbox import Delivered
from postroom_worker.row import Row
from postroom_worker.stopping import is_stopping
from postroom_worker.turn import stand_in_line, take_turn

log = logging.getLogger("postroom")

_AWAY_S = 1.0
_NOT_DELIVERED = (LetterState.FAILED, LetterState.PARTIAL, LetterState.REJECTED, LetterState.HELD)


class NotDelivered(PostroomError):
    """The letter, or a part of its recipients, was refused or given up: the reply that decided."""


@app.task(name=DELIVER, bind=True, throws=(NotDelivered, InvalidLetter), max_retries=None, Request=Row)
def deliver_letters(self: Task[..., dict[str, Any]], letter_ids: list[str]) -> dict[str, Any]:
    """Deliver letters by their ids. The task's state is the outcome of one alone, and the worst outcome of several."""
    delivered, left = take_turn(office(), [check_id(each, "letter_ids") for each in letter_ids])
    if left:
        stand_in_line(office(), left, BULK_QUEUE)
    # Another bell of the same letter was quicker: its task tells the outcome, this one nothing.
    own = [each for each in delivered if each.is_ours]
    if not own:
        raise Ignore
    if self.request.id != letter_ids[0]:
        tell_of_delayed(app, str(self.request.hostname), own)
    return _shown(own[0]) if len(letter_ids) == 1 else _shown_together(own, len(left))


# This message is no bell, but the letter itself: it outlives the process that reads it, and an absence of the ledger.
@app.task(name=ACCEPT, bind=True, throws=(InvalidLetter, NewerSchema), reject_on_worker_lost=True)
def accept(self: Task[..., str], *letters: Any, **unknown: Any) -> str:
    """Accept a letter given as JSON, from applications without the library; returns its id."""
    # Arguments that nobody knows are put aside with their letter: an error of the task would lose it.
    letter = letters[0] if len(letters) == 1 and not unknown else {"arguments": letters, "keywords": unknown}
    while True:
        try:
            return accept_letter(office(), Bells.of(office().settings), letter, str(self.request.id))
        except (LedgerUnavailable, OperationalError, InvalidSettings) as error:
            # A file of relays or keys may have been spoilt since the worker began: a new process of it reads it anew.
            # Not put back each time: RabbitMQ drops what comes back too often, 20 times by default.
            if is_stopping():
                raise Reject(str(error), requeue=True) from None
            level = logging.ERROR if isinstance(error, InvalidSettings) else logging.WARNING
            log.log(level, "a letter that came over the queue waits: %s", error)
            clock.pause(_AWAY_S)


@app.task(name=PROBE)
def probe(nonce: str) -> None:
    """Say that this queue's tasks are done."""
    answer_probe(office().ledger, check_id(nonce, "nonce"))


def _shown(done: Delivered) -> dict[str, Any]:
    """Return or raise what makes the monitor show the letter's state; the text names no address."""
    if done.state == LetterState.DEFERRED:
        raise _retry(done.why, done.next_in_ms)
    if done.state in _NOT_DELIVERED:
        raise NotDelivered(f"{done.state}: {done.why}")
    return {"state": done.state, "why": done.why}


def _shown_together(done: Sequence[Delivered], left: int) -> dict[str, Any]:
    """Return or raise what makes the monitor show a chunk: how many letters are in each state, and the first reply."""
    numbers = Counter(str(each.state) for each in done)
    if left:
        numbers["back in line"] = left
    told = ", ".join(f"{number} {state}" for state, number in numbers.most_common())
    for each in done:
        if each.state in _NOT_DELIVERED:
            raise NotDelivered(f"{told}; letter {each.letter_id}: {each.why}")
    deferred = [each for each in done if each.state == LetterState.DEFERRED]
    if deferred:
        first = min(deferred, key=lambda each: each.next_in_ms)
        raise _retry(f"{told}; letter {first.letter_id}: {first.why}", first.next_in_ms)
    return dict(numbers)


def _retry(why: str, next_in_ms: int) -> Retry:
    """Raised, it has Celery mark the task RETRY and publish nothing: the schedule rings when it is due."""
    when = datetime.now(UTC) + timedelta(milliseconds=next_in_ms)
    return Retry(why, NotDelivered(why), when)


@worker_process_shutdown.connect
@worker_shutdown.connect
def close_office(**_: object) -> None:
    """Say QUIT to the relays: a session left open is a slot that the relay keeps for nobody. Then add the counts."""
    if office.cache_info().currsize:
        office().pool.close()
        office().telemetry.counts.flush()
