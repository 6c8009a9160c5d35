"""A broker that cuts connections, is away for a while, or says no: the next bell is rung all the same, and once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from brokers import RabbitMQ
from house import house
from postroom import LetterState, clock
from postroom.bell import AWAY, Bells
from postroom.broker import QUEUE
from postroom.ledger import Bell
from postroom_worker.dev.server import server, wait_until

BELL = Bell("some-id", QUEUE, "a***@example.com")


def test_connections_to_redis_that_were_cut_cost_no_bell(tmp_path: Path) -> None:
    with server(tmp_path / "broker") as broker, Redis(port=broker.port) as redis:
        bells = Bells(broker.url, 1)
        bells.ring(BELL)
        for number in range(2, 5):
            redis.client_kill_filter(_type="normal", skipme=True)
            bells.ring(BELL)
            assert redis.llen(QUEUE) == number
            redis.client_kill_filter(_type="normal", skipme=True)
            assert bells.waiting()[QUEUE] == number


def test_a_redis_that_was_away_is_rung_at_as_soon_as_it_is_back(tmp_path: Path) -> None:
    with server(tmp_path / "broker", "--appendfsync", "always") as broker, Redis(port=broker.port) as redis:
        bells = Bells(broker.url, 1)
        bells.ring(BELL)
        broker.kill()
        began_s = clock.steady_s()
        with pytest.raises(AWAY):
            bells.ring(BELL)
        with pytest.raises(AWAY):
            bells.waiting()
        assert clock.steady_s() - began_s < 10
        broker.restart()
        bells.ring(BELL)
        assert bells.waiting()[QUEUE] == redis.llen(QUEUE) == 2


def is_refused(bells: Bells) -> bool:
    """Ring; True when it was in vain."""
    try:
        bells.ring(BELL)
    except AWAY:
        return True
    return False


def is_taken(bells: Bells) -> bool:
    """Ring; True when it was not in vain."""
    return not is_refused(bells)


def test_a_bell_that_rabbitmq_nacks_is_rung_once_more(
    rabbitmq_server: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = rabbitmq_server.broker()
    bells = Bells(broker.url, 5)
    bells.ring(BELL)
    broker.refuse()
    wait_until(partial(is_refused, bells), "the queue is full")
    rung = bells.waiting()[QUEUE]

    def mend(_s: float) -> None:
        broker.take_again()
        with monkeypatch.context() as unpatched:
            unpatched.setattr(clock, "pause", time.sleep)
            wait_until(partial(is_taken, Bells(broker.url, 5)), "the queue takes bells")
            taken.append(bells.waiting()[QUEUE])

    taken: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(clock, "pause", mend)
        bells.ring(BELL)
    assert taken[0] > rung, "others were rung meanwhile"
    assert bells.waiting()[QUEUE] == taken[0] + 1
    broker.end()


def test_letters_whose_bells_rabbitmq_nacks_are_accepted_and_rung_for_later(
    rabbitmq_server: RabbitMQ, empty_redis: Callable[[], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = rabbitmq_server.broker()
    with house(tmp_path, empty_redis(), broker, POSTROOM_BELL_S="30") as here:
        here.postroom.send_letter("before@example.com", "hi")
        broker.refuse()
        wait_until(partial(is_refused, here.postroom.bells), "the queue is full")
        with caplog.at_level(logging.WARNING):
            receipt = here.postroom.send_letter("ann@example.com", "hi")
        assert f"letter {receipt.id}: accepted, but the broker is away" in caplog.text
        assert receipt.status().state is LetterState.QUEUED
        broker.take_again()
        here.worker()
        assert receipt.wait().state is LetterState.SENT
