"""RabbitMQ carries the bells, in quorum queues, while the ledger stays on Redis."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from amqp.basic_message import Message
from kombu import Connection, Queue

from brokers import OverRabbitMQ, RabbitMQ
from house import House, NewHouse, end_claims, house
from postroom import Letter, LetterState, Receipt, clock
from postroom.bell import ACCEPT, AWAY, DELIVER, Bells, publisher
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger import Bell
from postroom.ledger.views import listing, status
from postroom.letter_json import SCHEMA
from postroom_worker.dev.capture import greylisted
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.scripted_relay import Session, both, say, scripted_relay, silent, wait_for
from postroom_worker.dev.server import server, wait_until


@pytest.fixture
def new_broker(rabbitmq_server: RabbitMQ) -> Callable[[], OverRabbitMQ]:
    """Gives a virtual host of its own, whatever carries the bells of other tests."""
    return rabbitmq_server.broker


@pytest.fixture
def new_house(
    empty_database: Callable[[], str], new_broker: Callable[[], OverRabbitMQ], tmp_path: Path
) -> Iterator[NewHouse]:
    """Sets up houses whose bells RabbitMQ carries."""
    with ExitStack() as houses:
        yield lambda **settings: houses.enter_context(house(tmp_path, empty_database(), new_broker(), **settings))


def bulk(here: House, number: int) -> list[Receipt]:
    """Send so many letters in bulk, one to a task."""
    letters = [Letter(f"bulk-{each}@example.com", "hi", settings=here.postroom.settings) for each in range(number)]
    return here.postroom.send_letters(letters, chunk=1)


def children(worker: Worker) -> list[int]:
    """The processes that deliver."""
    main = worker.process.pid
    return [int(each) for each in Path(f"/proc/{main}/task/{main}/children").read_text().split()]


def test_letters_arrive_and_a_deferred_one_is_retried(new_house: NewHouse) -> None:
    here = new_house()
    here.answers["grey@example.com"] = greylisted(1)
    here.worker()
    receipts = [here.postroom.send_letter(to, "hi") for to in ("ann@example.com", "grey@example.com")]
    receipts += bulk(here, 5)
    assert {each.wait().state for each in receipts} == {LetterState.SENT}
    assert set(here.relay.accepted.values()) == {1}
    wait_until(lambda: here.bells_waiting() == 0, "all bells were heard")


def test_the_queues_are_quorum_queues_and_no_others_are_made_for_tasks(new_house: NewHouse) -> None:
    here = new_house()
    here.worker()
    here.postroom.send_letter("ann@example.com", "hi").wait()
    assert isinstance(here.broker, OverRabbitMQ)
    found = here.broker.server.ask("GET", f"queues/{here.broker.name}")
    declared = {QUEUE, BULK_QUEUE, *(f"{QUEUE}.schema-{number}" for number in range(2, SCHEMA + 1))}
    assert {each["name"] for each in found if each["type"] == "quorum"} == declared
    assert not [each["name"] for each in found if "delayed" in each["name"]]


def test_a_letter_whose_worker_is_killed_is_delivered_by_another(new_house: NewHouse) -> None:
    def at_data(session: Session) -> None:
        (say("354 go ahead") if session.number else silent)(session)

    with scripted_relay({"data": at_data}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        first = here.worker("first")
        receipt = here.postroom.send_letter("ann@example.com", "hi")
        wait_until(lambda: "DATA" in relay.verbs, "the relay has it in hand")
        first.kill()
        end_claims(here.ledger, receipt)
        here.worker("second")
        assert receipt.wait().state is LetterState.SENT
        assert relay.accepted == {"ann@example.com": 1}
        assert here.events(receipt) == ["queued", "died", "attempt"]


def test_letters_and_their_worker_outlive_an_absence_of_rabbitmq(
    new_house: NewHouse, rabbitmq_server: RabbitMQ
) -> None:
    go_on = Event()
    with scripted_relay({"content": [both(wait_for(go_on), say("250 2.0.0 taken")), say("250 2.0.0 taken")]}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url, POSTROOM_BELL_S="30")
        worker = here.worker("worker", "--concurrency=1")
        in_hand = here.postroom.send_letter("in-hand@example.com", "hi")
        wait_until(lambda: relay.sessions and relay.sessions[0].has_content, "the relay has it")
        rung = [here.postroom.send_letter(f"rung-{each}@example.com", "hi") for each in range(3)]
        rabbitmq_server.stop()
        try:
            go_on.set()
            assert in_hand.wait().state is LetterState.SENT, "its outcome is the ledger's"
            before_s = clock.steady_s()
            unrung = here.postroom.send_letter("unrung@example.com", "hi")
            assert clock.steady_s() - before_s < 60
            assert unrung.status().state is LetterState.QUEUED
        finally:
            rabbitmq_server.start()
        assert {each.wait().state for each in [*rung, unrung]} == {LetterState.SENT}
        assert set(relay.accepted.values()) == {1}
        assert worker.process.poll() is None


def test_a_connection_that_rabbitmq_ended_is_made_anew(new_house: NewHouse) -> None:
    here = new_house()
    here.postroom.send_letter("before@example.com", "hi")
    assert isinstance(here.broker, OverRabbitMQ)
    here.broker.drop_connections()
    assert not here.postroom.bells.are_all_rung()
    here.broker.drop_connections()
    here.postroom.send_letter("after@example.com", "hi")
    assert here.bells_waiting() == 2


def test_a_child_of_fork_rings_through_a_connection_of_its_own(new_house: NewHouse) -> None:
    here = new_house()
    program = (
        "import os, postroom\n"
        "def send(): [postroom.send_letter('ann@example.com', 'hi') for _ in range(10)]\n"
        "send()\n"
        "child = os.fork()\n"
        "send()\n"
        "if child: raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **here.environment}, check=True, timeout=60)
    assert here.bells_waiting() == 30


def test_a_queue_that_somebody_declared_otherwise_stops_bells_and_not_letters(
    new_house: NewHouse, caplog: pytest.LogCaptureFixture
) -> None:
    here = new_house()
    with Connection(here.broker.url) as connection:
        Queue(QUEUE)(connection.default_channel).declare()
    receipt = here.postroom.send_letter("ann@example.com", "hi")
    assert receipt.status().state is LetterState.QUEUED
    assert "inequivalent arg 'x-queue-type'" in caplog.text


def test_a_letter_sent_alone_does_not_wait_for_a_campaign(new_house: NewHouse) -> None:
    here = new_house()
    here.slow |= {f"bulk-{each}@example.com": 0.2 for each in range(30)}
    here.worker("both", "--concurrency=1")
    campaign = bulk(here, 30)
    campaign[0].wait()
    here.postroom.send_letter("reset@example.com", "hi").wait()
    assert [to for _, to in here.relay.accepted].index("reset@example.com") < 10


def test_a_worker_for_letters_sent_alone_is_never_taken_by_a_campaign(new_house: NewHouse) -> None:
    here = new_house()
    here.slow["bulk-0@example.com"] = 100
    here.worker("campaigns", "--concurrency=1", "-Q", BULK_QUEUE)
    [campaign] = bulk(here, 1)
    here.wait_for(campaign, LetterState.SENDING)
    here.worker("alone", "--concurrency=1", "-Q", QUEUE)
    assert here.postroom.send_letter("reset@example.com", "hi").wait().state is LetterState.SENT
    assert campaign.status().state is LetterState.SENDING


def test_a_worker_that_stops_gives_back_what_it_did_not_begin(new_house: NewHouse) -> None:
    go_on = Event()
    with scripted_relay({"content": [both(wait_for(go_on), say("250 2.0.0 taken")), say("250 2.0.0 taken")]}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker("first", "--concurrency=1")
        receipts = [here.postroom.send_letter("ann@example.com", "hi"), *bulk(here, 3)]
        wait_until(lambda: sum(each.is_waiting for each in relay.sessions) == 1, "the relay keeps it waiting")
        worker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Warm shutdown" in worker.log.read_text(), "it knows that it is to stop")
        go_on.set()
        wait_until(lambda: worker.process.poll() is not None, "it has stopped")
        wait_until(lambda: here.bells_waiting() == 3, "the others are back in the queue")
        here.worker("second")
        assert {each.wait().state for each in receipts} == {LetterState.SENT}
        assert {each.status().attempts for each in receipts} == {1}


def test_a_letter_that_came_over_the_queue_outlives_the_ledgers_absence_and_its_readers_death(
    new_broker: Callable[[], OverRabbitMQ], tmp_path: Path
) -> None:
    with server(tmp_path / "ledger") as ledger, house(tmp_path, ledger.url, new_broker()) as here:
        worker = here.worker("worker", "--concurrency=1")
        wait_until(lambda: " ready." in worker.log.read_text(), "it is ready")
        ledger.kill()
        letter = {"schema": 1, "to": "ann@example.com", "message": "hi"}
        publisher(here.broker.url, 5).send_task(ACCEPT, args=[letter], queue=QUEUE)
        wait_until(lambda: "over the queue waits" in worker.log.read_text(), "it has the letter")
        for child in children(worker):
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: worker.log.read_text().count("received") == 2, "it has the letter again")
        ledger.restart()
        wait_until(lambda: here.relay.accepted, "it was sent")
        [letter_id] = wait_until(
            lambda: [each.id for each in listing(here.ledger, LetterState.SENT)], "the ledger knows"
        )
        assert status(here.ledger, letter_id).attempts == 1
        assert worker.log.read_text().count("received") == 3, "it was not put back over and over: twice, and its bell"


HEADERS: Mapping[str, Any] = {"lang": "py", "task": DELIVER, "id": "1", "root_id": "1"}
JSON: Mapping[str, Any] = {"content_type": "application/json", "content_encoding": "utf-8"}
GARBAGE = {
    "nothing": Message(b""),
    "octets": Message(b"\xff\xfe\x00\x80", content_type="application/octet-stream"),
    "no headers": Message(b"[[], {}, {}]", **JSON),
    "no JSON": Message(b"garbage", application_headers=HEADERS, **JSON),
    "nested without end": Message(b"[" * 100_000, application_headers=HEADERS, **JSON),
    "a pickle": Message(b"cos\nsystem\n", application_headers=HEADERS, content_type="application/x-python-serialize"),
    "unknown encoding": Message(b"[[], {}, {}]", application_headers=HEADERS, content_encoding="klingon"),
    "unknown task": Message(b"[[], {}, {}]", application_headers={**HEADERS, "task": "os.system"}, **JSON),
    "task that is a number": Message(b"[[], {}, {}]", application_headers={**HEADERS, "task": 5}, **JSON),
    "eta that is no time": Message(b"[[], {}, {}]", application_headers={**HEADERS, "eta": "soon"}, **JSON),
    "time limit that is text": Message(b"[[], {}, {}]", application_headers={**HEADERS, "timelimit": "x"}, **JSON),
    "body that is text": Message(b'"hi"', application_headers=HEADERS, **JSON),
    "an unknown letter": Message(json.dumps([[["x"]], {}, {}]), application_headers=HEADERS, **JSON),
}


def test_the_worker_survives_garbage_and_delivers_what_comes_behind(new_house: NewHouse) -> None:
    here = new_house()
    worker = here.worker("worker", "--concurrency=1")
    here.postroom.send_letter("before@example.com", "hi").wait()
    for name, garbage in GARBAGE.items():
        with Connection(here.broker.url) as connection:
            channel: Any = connection.default_channel
            channel.basic_publish(garbage, routing_key=QUEUE)
        receipt = here.postroom.send_letter("behind@example.com", name)
        assert receipt.wait().state is LetterState.SENT, name
    assert worker.process.poll() is None
    wait_until(lambda: here.bells_waiting() == 0, "nothing of it is left to come again")


BELL = Bell("some-id", QUEUE, "a***@example.com")


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
