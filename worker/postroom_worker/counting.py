"""Counting attempts, for the metrics: in this process's memory, and once a second into the ledger."""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from threading import Lock

from postroom import clock, metrics
from postroom.errors import LedgerUnavailable
from postroom.ledger import Claim, Finish, Ledger
from postroom.ledger.counts import INFINITE, SUM_MS, Series, add
from postroom.metrics import Metric
from postroom.reply import Reply
from postroom.states import LetterState
from postroom_worker.outcome import Answer, Outcome, Phase, Silence, outcome
from postroom_worker.settlement import Attempt

_BEST_FIRST = (
    Outcome.ACCEPTED,
    Outcome.REFUSED,
    Outcome.RECONNECT,
    Outcome.DEFERRED,
    Outcome.PAUSE_RELAY,
    Outcome.UNCERTAIN,
)
_DELIVERED = (LetterState.SENT, LetterState.PARTIAL)
_SUBJECTS = 8
"""RFC 3463 §3 knows 0 to 7; a relay may say anything."""


class Counts:
    """What this process has counted, and not added to the ledger yet. Safe to share between threads.

    A process that is killed loses what it counted during the last second.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Count nothing yet."""
        self._ledger = ledger
        self._lock = Lock()
        self._flushing = Lock()
        self._counted: Counter[Series] = Counter()
        self._adding: tuple[str, Counter[Series]] | None = None
        """What is being added, and its nonce: the same again, if nobody knows whether it was."""

    def attempt(self, claim: Claim, attempt: Attempt, finish: Finish) -> None:
        """Count an attempt, in memory."""
        counted = series_of(claim, attempt, finish)
        with self._lock:
            for series, number in counted:
                self._counted[series] += number

    def flush(self) -> None:
        """Add what was counted to the ledger; what cannot be added now is added later."""
        with self._flushing:
            if self._adding is None:
                with self._lock:
                    counted, self._counted = self._counted, Counter()
                if not counted:
                    return
                self._adding = (secrets.token_hex(8), counted)
            with suppress(LedgerUnavailable):  # whatever else needs Redis now says so
                add(self._ledger, *self._adding)
                self._adding = None


def series_of(claim: Claim, attempt: Attempt, finish: Finish) -> list[tuple[Series, int]]:
    """Return the series that an attempt adds to, and how much; at least one recipient was answered."""
    met = [_met(attempt.relay, answer) for answer in attempt.answers.values()]
    counted: list[tuple[Series, int]] = [
        (max(met)[1], 1),
        *_observed(metrics.ATTEMPT_SECONDS, (attempt.relay,), attempt.took_ms),
    ]
    counted += [(each[2], 1) for each in met]
    for relay, _ in attempt.turned_away:
        counted.append(((metrics.ATTEMPTS.name, relay, Outcome.PAUSE_RELAY.value, ""), 1))
    if finish.state in _DELIVERED:
        since_ms = claim.now_ms + int(1000 * (clock.steady_s() - claim.claimed_s)) - claim.begins_ms
        counted += _observed(metrics.DELIVERY_SECONDS, (attempt.relay, claim.queue), max(0, since_ms))
    return counted


def worst(attempt: Attempt) -> tuple[Outcome, Answer]:
    """Return the worst that a recipient met in an attempt, and with which answer."""
    met = [(outcome(answer).outcome, answer) for answer in attempt.answers.values()]
    return max(met, key=lambda each: _BEST_FIRST.index(each[0]))


def _observed(metric: Metric, labels: tuple[str, ...], took_ms: int) -> tuple[tuple[Series, int], tuple[Series, int]]:
    """What an observation adds to a histogram: one to its bucket, and the time."""
    place = bisect_left(metric.bounds, took_ms / 1000)
    bound = f"{metric.bounds[place]:g}" if place < len(metric.bounds) else INFINITE
    return ((metric.name, *labels, bound), 1), ((metric.name, *labels, SUM_MS), took_ms)


def _met(relay: str, answer: Answer) -> tuple[int, Series, Series]:
    """What a recipient's answer counts as: how bad it is, and the series of an attempt and of an answer like it."""
    met = answer.met
    if isinstance(met, Reply):
        return _told(relay, answer.phase, met.code, met.enhanced)
    return _told(relay, answer.phase, met, "")


@lru_cache(maxsize=4096)
def _told(relay: str, phase: Phase, met: int | Silence, enhanced: str) -> tuple[int, Series, Series]:
    answer = Answer(phase, met if isinstance(met, Silence) else Reply(met, enhanced=enhanced))
    means = outcome(answer).outcome
    return (
        _BEST_FIRST.index(means),
        (metrics.ATTEMPTS.name, relay, means.value, ""),
        (metrics.ANSWERS.name, relay, means.value, reason(answer), ""),
    )


def reason(answer: Answer) -> str:
    """Return what was met in a few words, of which there are few: the phase, and the class of the reply.

    The class and subject of the enhanced status code (RFC 3463) tell why, such as ``rcpt 4xx 4.7.x``: its detail, and
    the text, could be anything.
    """
    met, phase = answer.met, answer.phase
    if isinstance(met, Silence):
        return f"{phase} {met}"
    if phase is Phase.PROGRAM:  # an exit status
        return f"{phase} {met.code}"
    subject = met.enhanced.split(".")[1] if met.enhanced else ""
    known = f" {met.enhanced[0]}.{subject}.x" if subject.isdecimal() and int(subject) < _SUBJECTS else ""
    return f"{phase} {met.code // 100}xx{known}"
