"""Garbage on the broker's queue: the worker survives it, and delivers what comes behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from brokers import OverRedis
from house import House, NewHouse
from postroom import LetterState
from postroom.bell import ACCEPT, DELIVER, publisher
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger import views
from postroom_worker.dev.server import wait_until


def message(arguments: Any, **changes: Any) -> bytes:
    """A message as Celery writes it to the broker, but for what is changed."""
    properties: dict[str, Any] = {
        "correlation_id": "1",
        "reply_to": "1",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "1",
    }
    headers: dict[str, Any] = {"lang": "py", "task": DELIVER, "id": "1", "root_id": "1"}
    whole: dict[str, Any] = {
        "body": base64.b64encode(json.dumps(arguments).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    for name, value in changes.items():
        where: Any = properties if name in properties else headers if name in headers else whole
        if value is None:
            where.pop(name.replace("_", "-") if where is whole else name)
        else:
            where[name.replace("_", "-") if where is whole else name] = value
    return json.dumps(whole).encode()


EMBEDDED: Mapping[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

GARBAGE = {
    "no JSON": b"garbage",
    "empty": b"",
    "no UTF-8": b"\xff\xfe\x00\x80",
    "null": b"null",
    "number": b"17",
    "list": b"[1, 2]",
    "empty object": b"{}",
    "nested without end": b"[" * 100_000,
    "no properties": b'{"body": "e30=", "headers": {}}',
    "no delivery info": message([[["x"]], {}, EMBEDDED], delivery_info=None),
    "no delivery tag": message([[["x"]], {}, EMBEDDED], delivery_tag=None),
    "no body": message([[["x"]], {}, EMBEDDED], body=None),
    "body of a number": message([[["x"]], {}, EMBEDDED], body=5),
    "body that is no base64": message([[["x"]], {}, EMBEDDED], body="%%%"),
    "no headers": message([[["x"]], {}, EMBEDDED], headers=None),
    "headers that are a list": message([[["x"]], {}, EMBEDDED], headers=[]),
    "body that is no triple": message({"letter": "hi"}),
    "body that is text": message("hi"),
    "embedded that is no object": message([[["x"]], {}, 5]),
    "arguments that are a number": message([5, {}, EMBEDDED]),
    "keyword arguments that are a list": message([[], [], EMBEDDED]),
    "a pickle": message([[["x"]], {}, EMBEDDED], content_type="application/x-python-serialize"),
    "yaml": message([[["x"]], {}, EMBEDDED], content_type="application/x-yaml"),
    "unknown encoding": message([[["x"]], {}, EMBEDDED], content_encoding="klingon"),
    "unknown body encoding": message([[["x"]], {}, EMBEDDED], body_encoding="klingon"),
    "unknown task": message([[], {}, EMBEDDED], task="os.system"),
    "task that is a number": message([[], {}, EMBEDDED], task=5),
    "eta that is no time": message([[["x"]], {}, EMBEDDED], id="2").replace(
        b'"lang": "py"', b'"lang": "py", "eta": "soon"'
    ),
    "expires that is no time": message([[["x"]], {}, EMBEDDED]).replace(
        b'"lang": "py"', b'"lang": "py", "expires": "x"'
    ),
    "time limit that is text": message([[["x"]], {}, EMBEDDED]).replace(
        b'"lang": "py"', b'"lang": "py", "timelimit": "x"'
    ),
    "unknown arguments": message([[["x"], "y", "z"], {"v2": 1}, EMBEDDED]),
    "an id that is no text": message([[[5]], {}, EMBEDDED]),
    "ids that are no list": message([[7], {}, EMBEDDED]),
    "an id that is no id": message([[["*"]], {}, EMBEDDED]),
    "an id that is a key": message([[["x}:letter:{"]], {}, EMBEDDED]),
    "an unknown letter": message([[["x"]], {}, EMBEDDED]),
}


def push(here: House, queue: str, *garbage: bytes) -> None:
    """Write to the broker's queue what no Celery wrote."""
    if not isinstance(here.broker, OverRedis):
        pytest.skip("this garbage is Redis's; test_rabbitmq.py has its own")
    here.broker.redis.lpush(queue, *garbage)


def test_the_worker_survives_all_of_it_and_delivers_what_comes_behind(new_house: NewHouse) -> None:
    here = new_house()
    worker = here.worker()
    for name, garbage in GARBAGE.items():
        push(here, QUEUE, garbage)
        receipt = here.postroom.send_letter("behind@example.com", name)
        assert receipt.wait().state is LetterState.SENT, name
        assert here.accepted(receipt) == {"behind@example.com": 1}
    assert worker.process.poll() is None
    assert "Unrecoverable" not in worker.log.read_text()
    wait_until(lambda: here.bells_waiting() == 0, "nothing of it is left to come again")


def test_what_was_dropped_does_not_come_back_to_the_next_worker(new_house: NewHouse) -> None:
    here = new_house()
    for queue in (QUEUE, BULK_QUEUE):
        push(here, queue, *GARBAGE.values())
    here.worker("only", "--concurrency=1")
    wait_until(lambda: here.bells_waiting() == 0, "all of it was read")
    assert here.ledger.redis.hgetall("unacked") == {}


def test_arguments_of_a_newer_producer_do_not_lose_a_letter(shared: House) -> None:
    send = publisher(shared.postroom.settings.broker, 5).send_task
    send(ACCEPT, args=[{"schema": 1, "to": "new@example.com", "message": "hi"}], kwargs={"trace": 1}, queue=QUEUE)
    rejected = wait_until(
        lambda: [
            letter.id
            for letter in views.scan(shared.ledger, LetterState.REJECTED)
            if b"new@example.com" in (views.letter_json(shared.ledger, letter.id) or b"")
        ],
        "it is put aside",
    )
    assert len(rejected) == 1
    assert shared.relay.named["new@example.com"] == 0
