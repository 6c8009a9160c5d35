"""A bell that RabbitMQ refuses because its queue is in the making at this moment is rung once more, and no oftener."""

from __future__ import annotations

from typing import Any

import pytest
from amqp.exceptions import AccessRefused, InternalError, MessageNacked, PreconditionFailed
from kombu.exceptions import OperationalError

from postroom import clock
from postroom.bell import AWAY, Bells
from postroom.ledger import Bell

BELL = Bell("some-id", "postroom", "a***@example.com")
IN_THE_MAKING = [InternalError("INTERNAL_ERROR", reply_code=541), MessageNacked("basic.nack")]
FOR_GOOD = [AccessRefused("no permission"), PreconditionFailed("declared otherwise"), ConnectionRefusedError()]


class Refusals:
    """A broker that refuses so many times, for a reason that kombu may have wrapped."""

    def __init__(self, patch: pytest.MonkeyPatch, reason: Exception, times: int) -> None:
        self.asked = 0
        self.waited_s: list[float] = []
        self._reason, self._times = reason, times
        patch.setattr(Bells, "_send", lambda _bells, task, message: self.send(task, message))
        patch.setattr(clock, "pause", self.waited_s.append)

    def send(self, _task: str, _message: dict[str, Any]) -> None:
        """Take a bell, or refuse it."""
        self.asked += 1
        if self.asked <= self._times:
            try:
                raise OperationalError(str(self._reason)) from self._reason
            except OperationalError as wrapped:
                raise OperationalError(str(wrapped)) from wrapped


def ring() -> None:
    Bells("amqp://127.0.0.1:1//", 1).ring(BELL)


@pytest.mark.parametrize("reason", IN_THE_MAKING, ids=["541", "nack"])
def test_a_queue_in_the_making_is_waited_for_and_asked_once_more(
    reason: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = Refusals(monkeypatch, reason, times=1)
    ring()
    assert (refusals.asked, len(refusals.waited_s)) == (2, 1)
    assert sum(refusals.waited_s) < 2


@pytest.mark.parametrize("reason", IN_THE_MAKING, ids=["541", "nack"])
def test_one_that_stays_so_is_left_to_the_schedule(reason: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = Refusals(monkeypatch, reason, times=9)
    with pytest.raises(AWAY):
        ring()
    assert refusals.asked == 2


@pytest.mark.parametrize("reason", FOR_GOOD, ids=["no permission", "declared otherwise", "away"])
def test_what_no_waiting_mends_is_not_waited_for(reason: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = Refusals(monkeypatch, reason, times=9)
    with pytest.raises(AWAY):
        ring()
    assert (refusals.asked, refusals.waited_s) == (1, [])
