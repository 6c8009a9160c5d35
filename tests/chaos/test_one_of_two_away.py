"""Ledger and broker on servers of their own, and one of them is away: the other does not lose what it is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from house import House, house
from postroom import LedgerUnavailable, Letter, LetterState
from postroom.bell import DELIVER
from postroom.ledger import Bell
from postroom.sending import new_letter
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.server import Server, server, wait_until


@dataclass(slots=True)
class Two:
    """A house on two servers, and a worker that runs."""

    here: House
    ledger: Server
    broker: Server
    worker: Worker


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """All of it."""
    folder = tmp_path_factory.mktemp("two")
    with ExitStack() as running:
        ledger, broker = (
            running.enter_context(server(folder / name, "--appendfsync", "always")) for name in ("ledger", "broker")
        )
        # So a bell counts as lost after a second.
        here = running.enter_context(
            house(
                folder, ledger.url, POSTROOM_BROKER_URL=broker.url, POSTROOM_BELL_S="30", POSTROOM_REDIS_TIMEOUT_S="1"
            )
        )
        worker = here.worker()
        assert here.postroom.send_letter("before@example.com", "hi").wait().state is LetterState.SENT
        yield Two(here, ledger, broker, worker)


def test_without_the_broker_letters_are_accepted_and_rung_for_when_it_is_back(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    two.broker.kill()
    with caplog.at_level(logging.WARNING):
        receipt = two.here.postroom.send_letter("no-broker@example.com", "hi")
    assert f"letter {receipt.id}: accepted, but the broker is away" in caplog.text
    two.broker.restart()
    assert receipt.wait().state is LetterState.SENT
    assert two.here.accepted(receipt) == {"no-broker@example.com": 1}
    assert two.worker.process.poll() is None


def test_without_the_ledger_a_bell_is_heard_in_vain_and_rung_again_when_it_is_back(two: Two) -> None:
    here = two.here
    new, _ = new_letter(Letter("no-ledger@example.com", "hi", settings=here.postroom.settings), here.postroom.settings)
    here.ledger.accept(new)
    two.ledger.kill()
    with pytest.raises(LedgerUnavailable):
        here.postroom.send_letter("refused@example.com", "hi")
    here.postroom.bells.ring(Bell(new.id, new.queue, new.summary))
    wait_until(
        lambda: f"Task {DELIVER}[{new.id}] raised unexpected: LedgerUnavailable" in two.worker.log.read_text(),
        "the bell is heard in vain",
    )
    two.ledger.restart()
    receipt = here.postroom.receipt(new.id)
    assert receipt.wait().state is LetterState.SENT
    assert here.accepted(receipt) == {"no-ledger@example.com": 1}
    assert two.worker.process.poll() is None
