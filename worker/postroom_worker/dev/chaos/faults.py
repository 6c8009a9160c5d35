"""The script of faults: what strikes, at which step of a relay's dialog, and after how many transactions.

Nothing goes by the clock: a fault is due when the relays have begun so many transactions, and strikes the next session
that comes to its step. Each counts how often it bit; what found nothing to bite waits for the next chance.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from threading import Lock

from postroom_worker.dev.chaos import strikes
from postroom_worker.dev.chaos.relay import Answer
from postroom_worker.dev.chaos.stage import Stage
from postroom_worker.dev.chaos.strikes import Strike, answers_lost, refused, replies, take, worker_stopped
from postroom_worker.dev.scripted_relay import Gone, Session, close, drip, reset, say, silent
from postroom_worker.dev.server import wait_until


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
    Fault("relay: away", "mail", strikes.relay_away),
    Fault("relay: hung up before the greeting", "connect", replies(reset)),
    Fault("relay: 421 for a greeting", "connect", replies(BUSY, close)),
    Fault("relay: garbage for a greeting", "connect", replies(GARBAGE, close)),
    Fault("relay: hung up after MAIL", "mail", replies(close)),
    Fault("relay: hung up after RCPT", "rcpt", replies(reset)),
    Fault("relay: hung up after DATA", "data", replies(close)),
    Fault("relay: hung up in the body", "body", replies(reset)),
    Fault("relay: hung up after a chunk", "bdat", replies(close)),
    Fault("relay: 452 to a chunk", "bdat", replies(say("452 4.3.1 no room for now"))),
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
    Fault("relay: tarpit", "connect", strikes.tarpit),
    Fault("net: a relay's reply lost before the window", "rcpt", strikes.reply_lost),
    Fault("net: a relay's reply lost in the window", "content", strikes.reply_lost),
    Fault("net: a relay's replies swallowed in the window", "content", strikes.replies_swallowed),
    Fault("child killed before the window", "rcpt", strikes.child_killed),
    Fault("child killed in the window", "content", strikes.child_killed),
    Fault("worker killed before the window", "data", strikes.worker_killed),
    Fault("worker killed in the window", "content", strikes.worker_killed),
    Fault("worker's main process killed in the window", "content", strikes.main_killed),
    Fault("worker stopped before the window", "data", worker_stopped(strikes.are_settled)),
    Fault("worker stopped in the window", "content", worker_stopped(strikes.are_taken_away)),
    Fault("worker stopped in the window, evidence late", "content", strikes.evidence_late),
    Fault("redis killed before the window", "data", strikes.redis_killed),
    Fault("redis killed in the window", "content", strikes.redis_killed),
    Fault("redis away in the window", "content", strikes.redis_away),
    Fault("redis forgets scripts", "data", strikes.scripts_flushed),
    Fault("broker killed", "mail", strikes.broker_killed),
    Fault("broker away", "content", strikes.broker_away),
    Fault("broker loses its queues", "mail", strikes.bells_lost),
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
    failed: list[str] = field(default_factory=list)
    """What did not come to pass in time that a fault waited for."""
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
        except TimeoutError as error:
            self.failed.append(f"{due[1].name}: {error}")
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
                if fault.step == step and after <= self.stage.begun:
                    self._striking += 1
                    return self.left.pop(place)
        return None
