"""A rolling restart, as of an upgrade: the workers are restarted one after the other, and letters go on coming."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread
from typing import Literal

import pytest

from house import House, NewHouse
from postroom import Letter, LetterState, Receipt
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.server import wait_until

CHUNK = 20
ALONE_AT_ONCE = 10
PACE_S = 0.15
SLOW_S = 0.05
STOP_S = 60
"""Over RabbitMQ a child often waits 30 s, when all is done, for its parent to have counted its results (billiard)."""


@contextmanager
def load(house: House) -> Iterator[list[Receipt]]:
    """Send letters as long as this lasts: a chunk of a bulk after so many alone, each to a recipient of its own."""
    receipts: list[Receipt] = []
    enough, numbers = Event(), count()

    def letter(priority: Literal["normal", "bulk"] = "normal") -> Letter:
        address = f"rolling-{next(numbers)}@example.com"
        house.slow[address] = SLOW_S
        return Letter(address, "hi", settings=house.postroom.settings, priority=priority)

    def send() -> None:
        while not enough.wait(PACE_S):
            receipts.append(house.postroom.send(letter()))
            if len(receipts) % ALONE_AT_ONCE == 0:
                receipts.extend(house.postroom.send_letters([letter("bulk") for _ in range(CHUNK)], chunk=CHUNK))

    sender = Thread(target=send)
    sender.start()
    try:
        yield receipts
    finally:
        enough.set()
        sender.join()


def restart(house: House, worker: Worker, name: str) -> None:
    """Stop a worker over its letters, and start the one that takes its place."""

    def told(what: str) -> int:
        return worker.log.read_text().count(what)

    wait_until(lambda: told(" succeeded in ") > 0 and told(" received") > told(" succeeded in "), "it is at work")
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: worker.process.poll() is not None, "the old one has stopped", STOP_S)
    assert worker.process.returncode == 0
    house.worker(name)
    wait_until(lambda: told(" ready.") == 2, "the new one is ready")


@pytest.mark.timeout(4 * STOP_S)
def test_a_rolling_restart_under_load_loses_nothing_and_doubles_nothing(new_house: NewHouse) -> None:
    here = new_house()
    workers = {name: here.worker(name) for name in ("one", "two")}
    wait_until(lambda: all(" ready." in each.log.read_text() for each in workers.values()), "both are ready")
    with load(here) as receipts:
        for name, worker in workers.items():
            restart(here, worker, name)
    assert {each.wait().state for each in receipts} == {LetterState.SENT}
    assert {address: 1 for each in receipts for address in each.status().recipients} == {
        address: times for (_, address), times in here.relay.accepted.items()
    }
    for each in receipts:
        events = here.events(each)
        assert events.count("attempt") == 1, events
        assert not {"died", "uncertain"} & set(events), events
