"""RabbitMQ is killed while letters flow, and restarted on its data: the worker goes on by itself, nothing is lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from brokers import OverRabbitMQ, RabbitMQ, rabbitmq, why_no_rabbitmq
from house import house
from postroom import LetterState
from postroom_worker.dev.scripted_relay import both, say, scripted_relay, wait_for
from postroom_worker.dev.server import Server, server, wait_until

EVERYTHING = "CHAOS_LETTERS" in os.environ
PATIENCE_S = 90
"""A worker asks for its broker every half minute at last."""


@pytest.fixture
def ledger_server(tmp_path: Path) -> Iterator[Server]:
    """The ledger's server, which lives."""
    with server(tmp_path / "redis", "--appendonly", "no") as running:
        yield running


@pytest.fixture
def rabbitmq_server(tmp_path: Path) -> Iterator[RabbitMQ]:
    """A server of the test's own, to be killed."""
    if why := why_no_rabbitmq():
        pytest.skip(why)
    with rabbitmq(tmp_path / "rabbitmq") as running:
        yield running


@pytest.mark.skipif(not EVERYTHING, reason="it takes a minute: make chaos")
@pytest.mark.timeout(300)
def test_the_worker_consumes_again_by_itself_and_every_letter_is_delivered_once(
    ledger_server: Server, rabbitmq_server: RabbitMQ, tmp_path: Path
) -> None:
    answer = Event()
    first_session = {"content": [both(wait_for(answer), say("250 2.0.0 taken")), say("250 2.0.0 taken")]}
    broker = rabbitmq_server.broker()
    with (
        scripted_relay(first_session, {}) as relay,
        house(tmp_path, ledger_server.url, broker, POSTROOM_RELAY_URL=relay.url, POSTROOM_BELL_S="30") as here,
    ):
        worker = here.worker()
        in_hand = here.postroom.send_letter("in-hand@example.com", "hi")
        wait_until(lambda: relay.sessions and relay.sessions[0].has_content, "one slot is busy")
        wait_until(lambda: are_registered(broker), "RabbitMQ has its queues on disk")
        rung = [here.postroom.send_letter(f"rung-{number}@example.com", "hi") for number in range(20)]
        wait_until(lambda: relay.accepted, "letters flow through the other slot")
        rabbitmq_server.kill()
        unrung = [here.postroom.send_letter(f"unrung-{number}@example.com", "hi") for number in range(5)]
        answer.set()
        rabbitmq_server.start()
        receipts = [in_hand, *rung, *unrung]
        wait_until(lambda: {each.status().state for each in receipts} == {LetterState.SENT}, "all are sent", PATIENCE_S)
        assert relay.accepted == Counter(address for each in receipts for address in each.status().recipients)
        wait_until(lambda: here.bells_waiting() == 0, "the worker hears all bells", PATIENCE_S)
        assert here.postroom.send_letter("after@example.com", "hi").wait().state is LetterState.SENT
        assert worker.process.poll() is None


def are_registered(broker: OverRabbitMQ) -> bool:
    """True when a node that is killed finds its queues again: it writes down half a second later that they are its own.

    A queue that was declared, and is not in that file, has no leader after the restart: not even a consumer of another
    queue on the same channel gets an answer, until somebody deletes it (rabbitmq/rabbitmq-server#15725).
    """
    [registered] = broker.server.folder.glob("data/*/quorum/*/names.dets")
    queues = [each["name"] for each in broker.server.ask("GET", f"queues/{broker.name}") if each["type"] == "quorum"]
    return all(f"{broker.name}_{queue}".encode() in registered.read_bytes() for queue in queues)
