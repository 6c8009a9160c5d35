"""A Redis that cuts the broker's connections, or is away for a while: the next bell is rung all the same, and once."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from postroom import clock
from postroom.bell import AWAY, Bells
from postroom.broker import QUEUE
from postroom.ledger import Bell
from postroom_worker.dev.server import server

BELL = Bell("some-id", QUEUE, "a***@example.com")


def test_connections_to_redis_that_were_cut_cost_no_bell(tmp_path: Path) -> None:
    with server(tmp_path / "broker") as broker, Redis(port=broker.port) as redis:
        bells = Bells(broker.url, 30)
        bells.ring(BELL)
        for number in range(2, 5):
            redis.client_kill_filter(_type="normal", skipme=True)
            bells.ring(BELL)
            assert redis.llen(QUEUE) == number
            redis.client_kill_filter(_type="normal", skipme=True)
            assert bells.waiting()[QUEUE] == number


def test_a_redis_that_was_away_is_rung_at_as_soon_as_it_is_back(tmp_path: Path) -> None:
    with server(tmp_path / "broker", "--appendfsync", "always") as broker, Redis(port=broker.port) as redis:
        bells = Bells(broker.url, 2)
        bells.ring(BELL)
        broker.kill()
        began_s = clock.steady_s()
        with pytest.raises(AWAY):
            bells.ring(BELL)
        with pytest.raises(AWAY):
            bells.waiting()
        assert clock.steady_s() - began_s < 60
        broker.restart()
        bells.ring(BELL)
        assert bells.waiting()[QUEUE] == redis.llen(QUEUE) == 2
