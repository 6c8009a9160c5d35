"""What strikes: at a step of a relay's dialog, it does the worst and answers, or answers something else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import wraps

from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger.views import account, circumstances, statuses
from postroom_worker.dev.chaos.processes import children, is_running
from postroom_worker.dev.chaos.relay import Answer, letter_id
from postroom_worker.dev.chaos.stage import Stage
from postroom_worker.dev.scripted_relay import Gone, Reaction, Session
from postroom_worker.dev.server import wait_until

Strike = Callable[[Stage, Session, Answer], bool]
"""False when there was nothing to bite: nothing was answered."""


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
        _, relay, _ = stage.place(session)
        relay.refused.update(session.recipients)
        return replies(*reactions)(stage, session, answer)

    return strike


def tarpit(stage: Stage, session: Session, answer: Answer) -> bool:
    """The relay takes its time with every answer of this session."""
    _, relay, _ = stage.place(session)
    relay.tarpits.add(session.number)
    answer()
    return True


def reply_lost(stage: Stage, session: Session, answer: Answer) -> bool:
    """The relay's reply is lost on its way, and the line ends."""
    _, relay, port = stage.place(session)
    if not relay.before.lose_answer(port):
        return False
    answer()
    return True


def replies_swallowed(stage: Stage, session: Session, answer: Answer) -> bool:
    """The relay's replies never arrive, and the line stays open."""
    _, relay, port = stage.place(session)
    if not relay.before.swallow_answers(port):
        return False
    answer()
    return True


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
        _stopped(stage, owner[0], answer, is_over)
        return True

    return strike


def _stopped(
    stage: Stage, name: str, answer: Answer, is_over: Callable[[Stage, Sequence[str], Sequence[int]], bool]
) -> None:
    worker = stage.workers[name]
    os.killpg(worker.process.pid, signal.SIGSTOP)
    try:
        asleep = children(worker)
        in_hand = stage.claimed_by(asleep)
        answer()
        wait_until(lambda: is_over(stage, in_hand, asleep), "others have its letters")
    finally:
        os.killpg(worker.process.pid, signal.SIGCONT)


def are_taken_away(stage: Stage, _in_hand: Sequence[str], asleep: Sequence[int]) -> bool:
    """Their claims have run out."""
    return not stage.claimed_by(asleep)


def are_settled(stage: Stage, in_hand: Sequence[str], _asleep: Sequence[int]) -> bool:
    """Others have delivered them."""
    return all(each.state.is_settled for each in statuses(stage.ledger, in_hand))


@alone
def evidence_late(stage: Stage, session: Session, answer: Answer) -> bool:
    """SIGSTOP in the window of a letter that is held then, and SIGCONT: the relay's answer, heard late, settles it."""
    letter = letter_id(session.content)
    owner = stage.owner(session)
    if owner is None or circumstances(stage.ledger, letter).on_uncertain != "hold":
        return False
    _stopped(stage, owner[0], answer, are_taken_away)

    def is_heard() -> bool:
        return "testified" in [each["event"] for each in account(stage.ledger, letter).history]

    wait_until(is_heard, f"the late answer for {letter} is heard")
    return True


@alone
def redis_killed(stage: Stage, _session: Session, answer: Answer) -> bool:
    """kill -9 of the ledger's Redis; it is back at once, from its append-only file."""
    stage.ledger_server.kill()
    answer()
    stage.ledger_server.restart()
    return True


@alone
def redis_away(stage: Stage, session: Session, answer: Answer) -> bool:
    """kill -9 of Redis with one letter in hand, and nothing to do for the others; it is back when it was missed."""
    if stage.owner(session) is None or not stage.is_quiet():
        return False
    before = stage.logs().count("trying again in")
    stage.ledger_server.kill()
    answer()
    wait_until(lambda: stage.logs().count("trying again in") > before, "a worker misses Redis")
    stage.ledger_server.restart()
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
    if not stage.queues.delete(QUEUE, BULK_QUEUE):
        return False
    answer()
    return True


@alone
def broker_killed(stage: Stage, _session: Session, answer: Answer) -> bool:
    """kill -9 of the broker; it is back at once."""
    stage.broker_server.kill()
    answer()
    stage.broker_server.restart()
    return True


@alone
def broker_away(stage: Stage, _session: Session, answer: Answer) -> bool:
    """kill -9 of the broker, the ledger lives; it is back when a worker missed it."""

    def missed() -> int:
        # A worker that was just starting has lost no connection: it gets none.
        said = stage.logs()
        return said.count("Connection to broker lost") + said.count("Cannot connect to")

    before = missed()
    stage.broker_server.kill()
    answer()
    try:
        wait_until(lambda: missed() > before, "a worker misses the broker")
    finally:
        stage.broker_server.restart()
    return True


def answers_lost(times: int) -> Strike:
    """The answers to so many scripts are lost, whoever runs them: redis-py runs a script again, thrice at most."""

    @alone
    def strike(stage: Stage, _session: Session, answer: Answer) -> bool:
        before = stage.before.lost
        stage.before.lose(times)
        answer()
        wait_until(lambda: stage.before.lost >= before + times, "the answers are lost")
        return True

    return strike


@alone
def relay_away(stage: Stage, session: Session, _answer: Answer) -> bool:
    """The relay hangs up, and nobody listens, until letters went to the other, or a worker was turned away."""
    name, relay, _ = stage.place(session)
    others = [each for each in stage.relays.values() if each is not relay]
    taken = sum(len(each.taken) for each in others)
    relay.before.close()
    try:
        relay.before.hang_up()
        wait_until(
            lambda: sum(len(each.taken) for each in others) > taken or "no-connection" in _why_down(stage, name),
            "the other relay is tried",
        )
    finally:
        relay.before.open()
    raise Gone


def _why_down(stage: Stage, relay: str) -> str:
    return stage.ledger.relays.knock(relay, "", 0, 1).why
