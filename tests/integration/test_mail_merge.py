"""Mail-merge: the content is stored once, each letter keeps its fields, and everybody gets a letter of his own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from house import Desk, desk
from postroom import InvalidLetter, Letter, LetterState, PartlySent, Receipt, letter_json, merge, operate
from postroom.ledger import views
from postroom.sending import Postroom
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import ScriptedRelay, scripted_relay

NAMES = [f"reader-{number}" for number in range(7)]
ROWS = [{"name": name, "email": f"{name}@example.com"} for name in NAMES]
ATTACHED = bytes(range(256)) * 400


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with scripted_relay({}) as running:
        yield running


@pytest.fixture
def here(redis_url: str, relay: ScriptedRelay) -> Iterator[Desk]:
    with desk(redis_url, relay.url) as found:
        yield found


def letters_of(here: Desk, rows: list[dict[str, str]] = ROWS) -> Iterator[Letter]:
    return merge(
        rows,
        "{name} <{email}>",
        "Dear {name}, see the attachment.",
        subject="News for {name}",
        attachments=[("news.bin", ATTACHED)],
        settings=here.office.settings,
    )


def send(here: Desk, rows: list[dict[str, str]] = ROWS) -> list[Receipt]:
    """Send a mail-merge in bulk."""
    return Postroom(here.office.settings, ledger=here.ledger).send_letters(letters_of(here, rows), chunk=3)


def test_everybody_gets_a_letter_of_his_own_and_the_content_is_stored_once(here: Desk, relay: ScriptedRelay) -> None:
    receipts = send(here)
    redis = here.ledger.redis
    octets = [redis.strlen(key) for key in redis.scan_iter("postroom:{contents-*") if redis.type(key) == b"string"]
    assert len(octets) == 2, "the template, and what is attached"
    kept = views.letter_json(here.ledger, receipts[0].id) or b""
    assert json.loads(kept)["fields"] == ROWS[0]
    assert len(kept) < 300

    deliver(here.office, [each.id for each in receipts])
    assert [each.status().state for each in receipts] == [LetterState.SENT] * len(ROWS)
    taken = {each.recipients[0]: each.content for each in relay.taken}
    for name in NAMES:
        letter = taken[f"{name}@example.com"]
        assert b"To: %b <%b@example.com>\r\n" % (name.encode(), name.encode()) in letter
        assert b"\r\n\r\nDear %b, see the attachment.\r\n" % name.encode() in letter


def test_when_the_last_of_them_is_forgotten_so_is_the_content(here: Desk) -> None:
    receipts = send(here)
    for receipt in receipts:
        assert here.ledger.redis.keys("postroom:{contents-*")
        operate.cancel(here.ledger, receipt.id)
        operate.purge(here.ledger, receipt.id)
    assert here.ledger.redis.keys("postroom:{contents-*") == []
    assert not here.ledger.redis.exists(here.ledger.keys.kept())


def test_a_row_that_cannot_be_sent_ends_it_and_is_named(here: Desk) -> None:
    with pytest.raises(PartlySent) as caught:
        send(here, [*ROWS[:4], {"name": "nobody"}, *ROWS[5:]])
    cause = caught.value.__cause__
    assert isinstance(cause, InvalidLetter)
    assert [each.field for each in cause.problems] == ["rows[4]"]
    assert "there is no field 'email'" in str(cause)
    assert [each.status().subject for each in caught.value.receipts] == [f"News for {name}" for name in NAMES[:4]]


def test_an_older_worker_leaves_it_for_a_newer_one(
    here: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [receipt] = send(here, ROWS[:1])
    with monkeypatch.context() as patch:
        patch.setattr(letter_json, "SCHEMA", 1)
        status = here.deliver(receipt)
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert "is of schema 2, newer than 1" in caplog.text
    operate.flush(here.ledger, receipt.id)
    assert here.deliver(receipt).state is LetterState.SENT


def test_other_letters_are_written_for_older_workers_too(here: Desk) -> None:
    receipt = here.accept("ann@example.com")
    assert json.loads(views.letter_json(here.ledger, receipt.id) or b"")["schema"] == 1


def test_one_letter_sent_alone_may_be_of_a_mail_merge(here: Desk) -> None:
    [letter] = letters_of(here, ROWS[:1])
    assert here.deliver(here.record(letter)).state is LetterState.SENT
