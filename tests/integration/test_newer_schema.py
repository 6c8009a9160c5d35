"""A rolling upgrade: what a newer Postroom wrote waits for a newer worker, and the log says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from house import NewHouse, desk
from postroom import LetterState, NewerSchema, letter_json, operate
from postroom.broker import QUEUE
from postroom.ledger import views
from postroom_worker.acceptance import accept_letter
from postroom_worker.dev.scripted_relay import scripted_relay
from postroom_worker.dev.server import wait_until
from postroom_worker.office import Office

NEWER = letter_json.SCHEMA + 1


def newer(folder: Path) -> dict[str, str]:
    """The environment of a worker that reads letters of a newer schema."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import postroom.letter_json as each\neach.SCHEMA = {NEWER}\n")
    return {"PYTHONPATH": str(folder)}


def test_a_letter_on_the_queue_waits_for_a_newer_worker(
    new_house: NewHouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = new_house()
    letter = {"schema": NEWER, "to": "later@example.com", "message": "hi"}
    older = Office.open(here.postroom.settings, here.ledger, "older")
    with pytest.raises(NewerSchema):
        accept_letter(older, here.postroom.bells, letter, "message-1")
    assert f"the letter is of schema {NEWER}, newer than {NEWER - 1}: it is left for newer workers" in caplog.text
    with Connection(here.broker.url) as connection:
        channel: Any = connection.default_channel
        assert channel.queue_declare(f"{QUEUE}.schema-{NEWER}", passive=True).message_count == 1
    assert sum(views.counts(here.ledger).values()) == 0

    here.environment |= newer(tmp_path / "newer")
    here.worker("newer", "--concurrency=1")
    wait_until(lambda: here.relay.accepted, "it is delivered")
    assert here.relay.named == {"later@example.com": 1}


def test_a_letter_in_the_ledger_waits_for_a_newer_worker(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted_relay({}) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("later@example.com")
        key = here.ledger.keys.letter(receipt.id)
        kept = json.loads(views.letter_json(here.ledger, receipt.id) or b"")
        here.ledger.redis.hset(key, "letter", json.dumps(kept | {"schema": NEWER}))
        status = here.deliver(receipt)
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert f"is of schema {NEWER}, newer than {NEWER - 1}" in caplog.text

        monkeypatch.setattr(letter_json, "SCHEMA", NEWER)
        operate.flush(here.ledger, receipt.id)
        assert here.deliver(receipt).state is LetterState.SENT
