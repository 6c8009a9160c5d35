"""The script of faults: what strikes, at which step of the relay's dialog, and after how many transactions.

Nothing goes by the clock: a fault is due when the relay has begun so many transactions, and strikes the next session
that comes to its step. Each counts how often it bit; what found nothing to bite waits for the next chance.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from random import Random
from threading import Lock

from chaos.relay import Answer
from chaos.stage import Stage, children, is_running
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger.views import statuses
from postroom_worker.dev.server import wait_until
from scripted_relay import Gone, Reaction, Session, close, drip, reset, say, silent

Strike = Callable[[Stage, Session, Answer], bool]
"""Does the worst and answers, or answers something else. False when there was nothing to bite: nothing was answered."""


def replies(*reactions: Reaction) -> Strike:
    """The relay says and does this in place of its answer."""

    def strike(_stage: Stage, session: Session, _answer: Answer) -> bool:
        for each in reactions:
            each(session)
        return True

    return strike


def take(session: Session) -> None:
    """The relay takes the letter, and does not say so."""
    session.take()


def refused(*reactions: Reaction) -> Strike:
    """As `replies`, and the relay means it for good, whoever it has accepted before."""

    def strike(stage: Stage, session: Session, answer: Answer) -> bool:
        stage.relay.refused.update(session.recipients)
        return replies(*reactions)(stage, session, answer)

    return strike


def alone(strike: Strike) -> Strike:
    """Strike only when nothing else is broken."""

    @wraps(strike)
    def when_alone(stage: Stage, session: Session, answer: Answer) -> bool:
        if not stage.alone.acquire(blocking=False):
            return False
        try:
            return strike(stage, session, answer)
        finally:
            stage.alone.release()

    return when_alone


@alone
def child_killed(stage: Stage, session: Session, answer: Answer) -> bool:
    """kill -9 of the very process that the relay talks with."""
    owner = stage.owner(session)
    if owner is None:
        return False
    os.kill(owner[1], signal.SIGKILL)
    answer()
    return True


@alone
def worker_killed(stage: Stage, session: Session, answer: Answer) -> bool:
    """kill -9 of the whole worker that the relay talks with; another is started in its place."""
    owner = stage.owner(session)
    if owner is None:
        return False
    stage.workers[owner[0]].kill()
    answer()
    stage.start(owner[0])
    return True


@alone
def main_killed(stage: Stage, session: Session, answer: Answer) -> bool:
    """kill -9 of the worker's main process alone: its children finish what they have in hand, and end by themselves."""
    owner = stage.owner(session)
    if owner is None:
        return False
    worker = stage.workers[owner[0]]
    orphans = children(worker)
    worker.process.kill()
    worker.process.wait()
    answer()
    wait_until(lambda: not any(map(is_running, orphans)), "the orphans have ended")
    stage.start(owner[0])
    return True


def worker_stopped(is_over: Callable[[Stage, Sequence[str], Sequence[int]], bool]) -> Strike:
    """SIGSTOP of the whole worker until it is over with the letters that it had in hand, then SIGCONT."""

    @alone
    def strike(stage: Stage, session: Session, answer: Answer) -> bool:
        owner = stage.owner(session)
        if owner is None:
            return False
        worker = stage.workers[owner[0]]
        os.killpg(worker.process.pid, signal.SIGSTOP)
        try:
            asleep = children(worker)
            in_hand = stage.claimed_by(asleep)
            answer()
            wait_until(lambda: is_over(stage, in_hand, asleep), "others have its letters")
        finally:
            os.killpg(worker.process.pid, signal.SIGCONT)
        return True

    return strike


def are_taken_away(stage: Stage, _in_hand: Sequence[str], asleep: Sequence[int]) -> bool:
    """Their claims have run out."""
    return not stage.claimed_by(asleep)


def are_settled(stage: Stage, in_hand: Sequence[str], _asleep: Sequence[int]) -> bool:
    """Others have delivered them."""
    return all(each.state.is_settled for each in statuses(stage.house.ledger, in_hand))


@alone
def redis_killed(stage: Stage, _session: Session, answer: Answer) -> bool:
    """kill -9 of Redis; it is back at once, from its append-only file."""
    stage.server.kill()
    answer()
    stage.server.restart()
    return True


@alone
def redis_away(stage: Stage, session: Session, answer: Answer) -> bool:
    """kill -9 of Redis with one letter in hand, and nothing to do for the others; it is back when it was missed."""
    if stage.owner(session) is None or not stage.is_quiet():
        return False
    before = stage.logs().count("trying again in")
    stage.server.kill()
    answer()
    wait_until(lambda: stage.logs().count("trying again in") > before, "a worker misses Redis")
    stage.server.restart()
    return True


@alone
def scripts_flushed(stage: Stage, _session: Session, answer: Answer) -> bool:
    """Redis forgets all scripts."""
    stage.redis.script_flush()
    answer()
    return True


@alone
def bells_lost(stage: Stage, _session: Session, answer: Answer) -> bool:
    """The broker loses its queues."""
    if not stage.redis.delete(QUEUE, BULK_QUEUE):
        return False
    answer()
    return True


def answers_lost(times: int) -> Strike:
    """The answers to so many scripts are lost, whoever runs them: redis-py runs a script again, thrice at most."""

    @alone
    def strike(stage: Stage, _session: Session, answer: Answer) -> bool:
        before = stage.proxy.lost
        stage.proxy.lose(times)
        answer()
        wait_until(lambda: stage.proxy.lost == before + times, "the answers are lost")
        return True

    return strike


@alone
def connections_refused(stage: Stage, _session: Session, _answer: Answer) -> bool:
    """The relay hangs up, and nobody listens, until a worker was turned away."""
    stage.relay.close()
    try:
        stage.relay.hang_up()
        wait_until(lambda: "no-connection" in _pause(stage), "a worker was turned away")
    finally:
        stage.relay.open()
    raise Gone


def _pause(stage: Stage) -> str:
    return stage.house.ledger.relays.knock("default", "", 0, 1).why


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong."""

    name: str
    step: str
    """Of the relay's dialog."""
    strike: Strike


BUSY, LATER, GARBAGE = say("421 4.3.2 busy, come back later"), say("451 4.3.0 not now"), say(b"\xff\xfe what?")
TAKEN, TOO_LARGE, SPAM = say("250 2.0.0 taken"), say("552 5.3.4 too large"), say("554 5.7.1 not wanted here")

FAULTS = (
    Fault("relay: connections refused", "mail", connections_refused),
    Fault("relay: hung up before the greeting", "connect", replies(reset)),
    Fault("relay: 421 for a greeting", "connect", replies(BUSY, close)),
    Fault("relay: garbage for a greeting", "connect", replies(GARBAGE, close)),
    Fault("relay: hung up after MAIL", "mail", replies(close)),
    Fault("relay: hung up after RCPT", "rcpt", replies(reset)),
    Fault("relay: hung up after DATA", "data", replies(close)),
    Fault("relay: hung up in the body", "body", replies(reset)),
    Fault("relay: hung up after the end, not taken", "content", replies(reset)),
    Fault("relay: hung up after the end, taken", "content", replies(take, close)),
    Fault("relay: hung up right after the 250", "content", replies(TAKEN, close)),
    Fault("relay: reset right after the 250", "content", replies(TAKEN, reset)),
    Fault("relay: 421 to MAIL", "mail", replies(BUSY, close)),
    Fault("relay: 421 to RCPT", "rcpt", replies(BUSY, close)),
    Fault("relay: 421 to DATA", "data", replies(BUSY, close)),
    Fault("relay: 421 to the content", "content", replies(BUSY, close)),
    Fault("relay: 451 to the content", "content", replies(LATER)),
    Fault("relay: 552 in the body", "body", refused(TOO_LARGE, close)),
    Fault("relay: 554 to the content", "content", refused(SPAM)),
    Fault("relay: garbage to MAIL", "mail", replies(GARBAGE)),
    Fault("relay: garbage to RCPT", "rcpt", replies(GARBAGE)),
    Fault("relay: garbage to DATA", "data", replies(GARBAGE)),
    Fault("relay: garbage to the content, not taken", "content", replies(GARBAGE)),
    Fault("relay: garbage to the content, taken", "content", replies(take, GARBAGE)),
    Fault("relay: silent after DATA", "data", replies(silent)),
    Fault("relay: silent after the end, taken", "content", replies(take, silent)),
    Fault("relay: an octet at a time", "rcpt", replies(drip("250 2.1.5 ok\r\n", 0.2))),
    Fault("child killed before the window", "rcpt", child_killed),
    Fault("child killed in the window", "content", child_killed),
    Fault("worker killed before the window", "data", worker_killed),
    Fault("worker killed in the window", "content", worker_killed),
    Fault("worker's main process killed in the window", "content", main_killed),
    Fault("worker stopped before the window", "data", worker_stopped(are_settled)),
    Fault("worker stopped in the window", "content", worker_stopped(are_taken_away)),
    Fault("redis killed before the window", "data", redis_killed),
    Fault("redis killed in the window", "content", redis_killed),
    Fault("redis away in the window", "content", redis_away),
    Fault("redis forgets scripts", "data", scripts_flushed),
    Fault("broker loses its queues", "mail", bells_lost),
    Fault("redis: answer lost before the window", "data", answers_lost(1)),
    Fault("redis: answer lost in the window", "content", answers_lost(1)),
    Fault("redis: answers lost again and again", "mail", answers_lost(6)),
)


def script(seed: int, letters: int, times: int) -> list[tuple[int, Fault]]:
    """Return when each fault is due, in transactions: each so many times, in any order, evenly spread."""
    faults = list(FAULTS) * times
    Random(seed).shuffle(faults)
    return [(letters * place // len(faults), fault) for place, fault in enumerate(faults)]


@dataclass(slots=True)
class Faults:
    """The script as it is played."""

    stage: Stage
    left: list[tuple[int, Fault]]
    """What is due when, and has not struck yet."""
    bit: Counter[str] = field(default_factory=Counter)
    _striking: int = 0
    _lock: Lock = field(default_factory=Lock)

    @property
    def has_more(self) -> bool:
        """True when some are left, once nothing is broken any more: a fault that is at work may hinder others."""
        wait_until(lambda: not self.is_striking, "what is broken is mended")
        return bool(self.left)

    @property
    def is_striking(self) -> bool:
        """True while something is broken."""
        return self._striking > 0

    def disturb(self, session: Session, step: str, answer: Answer) -> None:
        """Let a fault strike that is due at this step, or answer."""
        due = self._due(step)
        if due is None:
            answer()
            return

        def answer_if_heard() -> None:
            with contextlib.suppress(Gone):
                answer()

        has_bitten = True  # a session's end, raised as Gone, is a bite too
        try:
            has_bitten = due[1].strike(self.stage, session, answer_if_heard)
        finally:
            with self._lock:
                self._striking -= 1
                if has_bitten:
                    self.bit[due[1].name] += 1
                else:
                    self.left.append(due)
        if not has_bitten:
            answer()

    def _due(self, step: str) -> tuple[int, Fault] | None:
        with self._lock:
            for place, (after, fault) in enumerate(self.left):
                if fault.step == step and after <= self.stage.relay.begun:
                    self._striking += 1
                    return self.left.pop(place)
        return None
