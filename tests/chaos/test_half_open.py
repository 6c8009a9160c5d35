"""The net between us and Redis: lines that swallow everything, are slow, or are cut. For ledger and broker apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from house import House, house
from postroom import Letter, LetterState
from postroom_worker.dev.chaos.proxy import Proxy, proxy
from postroom_worker.dev.server import server

EVERYTHING = "CHAOS_LETTERS" in os.environ
LETTERS = 100


@dataclass(slots=True)
class Net:
    """A house whose ledger and broker are behind proxies."""

    here: House
    ledger: Proxy
    broker: Proxy


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """All of it, with a worker that runs."""
    folder = tmp_path_factory.mktemp("net")
    with ExitStack() as running:
        redis = running.enter_context(server(folder / "redis"))
        ledger, broker = (running.enter_context(proxy(redis.port)) for _ in range(2))
        settings = {"POSTROOM_BROKER_URL": broker.url, "POSTROOM_REDIS_TIMEOUT_S": "0.5", "POSTROOM_BELL_S": "30"}
        here = running.enter_context(house(folder, ledger.url, **settings))
        here.worker()
        yield Net(here, ledger, broker)


def sent(net: Net, name: str, letters: int = 1) -> None:
    """Send letters, alone and together, and see that each arrives once."""
    make = [Letter(f"{name}-{each}@example.com", "hi", settings=net.here.postroom.settings) for each in range(letters)]
    receipts = [net.here.postroom.send_letter(f"{name}@example.com", "hi"), *net.here.postroom.send_letters(make)]
    assert {each.wait(timeout_s=30).state for each in receipts} == {LetterState.SENT}
    assert [each.status().attempts for each in receipts] == [1] * len(receipts)
    assert [sum(net.here.accepted(each).values()) for each in receipts] == [1] * len(receipts)


@pytest.mark.parametrize("which", ["ledger", "broker"])
def test_lines_that_swallow_everything_are_dropped_and_new_ones_made(which: str, net: Net) -> None:
    sent(net, f"before-{which}")
    getattr(net, which).swallow()
    sent(net, f"after-{which}")


@pytest.mark.skipif(not EVERYTHING, reason="it takes half a minute: make chaos")
def test_slow_lines_that_are_cut_now_and_then_cost_time_alone(net: Net) -> None:
    sent(net, "warm")
    for each in (net.ledger, net.broker):
        each.slow_s, each.cut_part = 0.02, 0.02
    sent(net, "slow", LETTERS)
    assert net.ledger.cut > 0
    assert net.broker.cut > 0
