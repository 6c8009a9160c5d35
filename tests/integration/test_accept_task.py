"""``postroom.accept``: letters from applications without the library. A malformed one is put aside, and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from house import House, NewHouse, desk
from postroom import Letter, LetterState, LetterStatus, Receipt, clock
from postroom.bell import ACCEPT, Bells, publisher
from postroom.broker import QUEUE
from postroom.ledger import views
from postroom_worker import tasks
from postroom_worker.acceptance import accept_letter
from postroom_worker.dev.server import wait_until
from postroom_worker.office import Office

GOOD: dict[str, Any] = {"schema": 1, "to": ["Ann <ann@example.com>"], "subject": "Grüße", "message": "hi"}
MALFORMED = {
    "no JSON": "to: ann@example.com",
    "empty text": "",
    "truncated": json.dumps(GOOD)[:-5],
    "not an object": ["to", "ann@example.com"],
    "null": None,
    "a number": 5,
    "no schema": {"to": "ann@example.com", "message": "hi"},
    "schema of text": GOOD | {"schema": "1"},
    "schema 0": GOOD | {"schema": 0},
    "schema that nobody writes": GOOD | {"schema": 1000, "holograms": []},
    "unknown key": GOOD | {"__class__": "Letter"},
    "unknown key of a part": GOOD | {"message": {"type": "text/plain", "text": "hi", "exec": "ls"}},
    "wrong type": GOOD | {"subject": 5},
    "true for a number": GOOD | {"expires_in_ms": True},
    "huge number": '{"schema": 1, "to": "ann@example.com", "message": "hi", "expires_in_ms": ' + "9" * 5000 + "}",
    "not a number": '{"schema": 1, "to": "ann@example.com", "message": "hi", "expires_in_ms": NaN}',
    "a number beyond all": '{"schema": 1, "to": "ann@example.com", "message": "hi", "expires_in_ms": 1e999}',
    "nested without end": "[" * 100_000,
    "nested too deeply": '{"schema":1,"to":"ann@example.com","message":'
    + '{"type":"multipart/mixed","subparts":[' * 400
    + '{"type":"text/plain","text":"hi"}'
    + "]}" * 400
    + "}",
    "parts nested without end": '{"schema":1,"to":"ann@example.com","message":'
    + '{"type":"multipart/mixed","subparts":[' * 50_000,
    "lone surrogate": '{"schema": 1, "to": "ann@example.com", "message": "\\ud83d"}',
    "lone surrogate unescaped": '{"schema": 1, "to": "ann@example.com", "message": "\ud83d"}',
    "no recipient": GOOD | {"to": []},
    "bad address": GOOD | {"to": ["ann@example.com", "ben@"]},
    "address with a line end": GOOD | {"to": "ann@example.com\r\nRCPT TO:<eve@example.com>"},
    "header with a line end": GOOD | {"headers": [["X-Id", "1\r\nBcc: eve@example.com"]]},
    "id that is no id": GOOD | {"id": "../../etc/passwd"},
    "bad base64": GOOD | {"attachments": [{"type": "application/pdf", "name": "a.pdf", "base64": "%%%"}]},
    # Celery's JSON gives these back as they were, not as text.
    "a time of Python's": GOOD | {"send_at": datetime(2030, 1, 1, tzinfo=UTC)},
    "a number of Python's": GOOD | {"expires_in_ms": Decimal("0.1")},
    "octets of Python's": GOOD | {"message": b"\xff"},
    "part of two kinds": GOOD | {"message": {"type": "text/plain", "text": "a", "base64": "YQ=="}},
}


def publish(house: House, letter: Any, task_id: str | None = None) -> None:
    """Do what an application without the library does."""
    publisher(house.postroom.settings.broker, 5).send_task(ACCEPT, args=[letter], queue=QUEUE, task_id=task_id)


def find(house: House, *states: LetterState) -> Iterator[LetterStatus]:
    """The letters in these states."""
    for state in states:
        yield from views.scan(house.ledger, state)


def to(house: House, address: str) -> Receipt:
    """Wait until a letter to this address was accepted, and return its receipt."""
    found = wait_until(
        lambda: {each.id for each in find(house, *LetterState) if address in each.recipients}, f"a letter to {address}"
    )
    assert len(found) == 1
    return house.postroom.receipt(found.pop())


@pytest.mark.parametrize("form", ["object", "text"])
def test_a_letter_given_as_json_is_sent(form: str, shared: House) -> None:
    letter = GOOD | {"to": f"json-{form}@example.com"}
    publish(shared, letter if form == "object" else json.dumps(letter))
    receipt = to(shared, f"json-{form}@example.com")
    assert receipt.wait().state is LetterState.SENT
    assert shared.accepted(receipt) == {f"json-{form}@example.com": 1}
    [octets] = shared.octets(receipt)
    assert b"\r\n\r\nhi\r\n" in octets


def test_a_message_that_comes_twice_is_one_letter(shared: House) -> None:
    for _ in range(3):
        publish(shared, GOOD | {"to": "redelivered@example.com"}, task_id="message-1")
    last = GOOD | {"to": "behind-it@example.com"}
    publish(shared, last)
    assert to(shared, "behind-it@example.com").wait().state is LetterState.SENT
    receipt = to(shared, "redelivered@example.com")
    assert receipt.wait().state is LetterState.SENT
    assert shared.accepted(receipt) == {"redelivered@example.com": 1}


def test_a_letter_that_was_written_by_the_library_is_taken_as_it_is(shared: House) -> None:
    letter = Letter(
        "library@example.com", "hi", from_="bob@example.org", html="<p>hi", attachments=[("a.bin", b"\xff")]
    )
    publish(shared, letter.to_json().decode())
    receipt = to(shared, "library@example.com")
    assert receipt.id == letter.id
    assert receipt.wait().state is LetterState.SENT
    assert shared.octets(receipt) == [letter.as_bytes()]


def test_every_malformed_letter_is_put_aside_with_its_error_and_the_worker_goes_on(new_house: NewHouse) -> None:
    here = new_house()
    for letter in MALFORMED.values():
        publish(here, letter)
    publish(here, GOOD)
    here.worker()
    receipt = to(here, "ann@example.com")
    assert receipt.wait().state is LetterState.SENT
    wait_until(lambda: here.bells_waiting() == 0, "all messages are dealt with")
    rejected = list(find(here, LetterState.REJECTED))
    assert len(rejected) == len(MALFORMED)
    assert all(each.reason and each.recipients == {} for each in rejected)
    assert sum(here.relay.accepted.values()) == 1
    kept = {views.letter_json(here.ledger, each.id) for each in rejected}
    assert b"to: ann@example.com" in kept, "what was put aside is kept as it came"


def test_an_id_of_another_letter_is_not_taken_over(shared: House) -> None:
    first = shared.postroom.send_letter("first@example.com", "hi")
    first.wait()
    publish(shared, GOOD | {"to": "thief@example.com", "id": first.id})
    [rejected] = wait_until(
        lambda: [each for each in find(shared, LetterState.REJECTED) if first.id in each.reason], "it is put aside"
    )
    assert "another letter" in rejected.reason
    assert list(first.status().recipients) == ["first@example.com"]
    assert shared.relay.named["thief@example.com"] == 0


def test_a_letter_that_meets_a_fault_of_ours_is_put_aside_too(redis_url: str) -> None:
    too_deep: list[Any] = []
    for _ in range(5000):
        too_deep = [too_deep]
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        with pytest.raises(RecursionError):
            accept_letter(here.office, Bells.of(here.office.settings), GOOD | {"message": too_deep}, "message-1")
        [rejected] = views.scan(here.ledger, LetterState.REJECTED)
    assert rejected.reason == "it could not be accepted, by a fault of ours: RecursionError"


def test_a_letter_waits_while_a_file_of_relays_that_was_spoilt_meanwhile_cannot_be_read(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    relays = tmp_path / "relays.toml"
    relays.write_text("[relays.default]\nurl =\n")

    def mend(_: float) -> None:
        relays.write_text('[relays.default]\nurl = "smtp://127.0.0.1:1"\n')

    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        settings = replace(here.office.settings, relays=str(relays))
        monkeypatch.setattr(tasks, "office", lambda: Office.open(settings, here.ledger, "a new process"))
        monkeypatch.setattr(clock, "pause", mend)
        letter_id = tasks.accept(GOOD)
        assert views.account(here.ledger, letter_id).status.state is LetterState.QUEUED
    assert [each.levelno for each in caplog.records if "relays.toml" in each.message] == [logging.ERROR]
