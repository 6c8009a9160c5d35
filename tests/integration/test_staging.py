"""Staging: with POSTROOM_REDIRECT_ALL nobody else is mailed, with POSTROOM_HOLD_ALL nobody before a person says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from house import Desk, desk
from postroom import LetterState, RecipientState, operate
from postroom.settings import process_settings
from postroom_worker.app import check_settings
from postroom_worker.dev.capture import Capture, capture, greylisted, refused

QA = "qa@staging.example"
ANSWERS = {"grey@example.com": greylisted(1), QA: greylisted(0)}


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Capture]:
    with capture(tmp_path / "mail", answers=dict(ANSWERS)) as running:
        yield running


def envelopes(relay: Capture) -> list[list[str]]:
    """To whom the relay took each copy."""
    lines = (relay.folder / "envelopes.jsonl").read_text().splitlines()
    return [json.loads(line)["recipients"] for line in lines]


def original_to(relay: Capture, copy: int = -1) -> list[str]:
    """What the X-Original-To fields of a copy say."""
    header = sorted(relay.folder.glob("*.eml"))[copy].read_bytes().split(b"\r\n\r\n")[0].decode()
    return [line.partition(": ")[2] for line in header.split("\r\n") if line.startswith("X-Original-To:")]


def test_one_address_gets_everything_and_is_told_for_whom_it_was(redis_url: str, relay: Capture) -> None:
    with desk(redis_url, relay.url, POSTROOM_REDIRECT_ALL=QA) as here:
        status = here.deliver(here.accept("Ann <ann@example.com>", cc=["ben@example.com"], bcc=["secret@example.com"]))
    assert status.state is LetterState.SENT
    assert envelopes(relay) == [[QA]], "once, however many it was for"
    assert original_to(relay) == ["ann@example.com", "ben@example.com", "secret@example.com"]
    assert set(status.recipients) == {"ann@example.com", "ben@example.com", "secret@example.com"}
    assert {each.reply for each in status.recipients.values()} == {
        f"250 2.0.0 (redirected to {QA}) Captured as 0001.eml"
    }


def test_recipients_on_the_list_of_exceptions_get_their_letters_themselves(redis_url: str, relay: Capture) -> None:
    spared = "Ann@Example.com, team.example bücher.example"
    to = ["ann@example.com", "ben@example.com", "x@TEAM.example", "y@sub.team.example", "z@xn--bcher-kva.example"]
    with desk(redis_url, relay.url, POSTROOM_REDIRECT_ALL=QA, POSTROOM_REDIRECT_EXCEPT=spared) as here:
        status = here.deliver(here.accept(to))
    assert status.state is LetterState.SENT
    assert set(envelopes(relay)[0]) == {"ann@example.com", QA, "x@team.example", "z@xn--bcher-kva.example"}
    assert original_to(relay) == ["ben@example.com", "y@sub.team.example"]
    assert "redirected" not in status.recipients["ann@example.com"].reply


def test_a_refusal_of_the_address_counts_for_all_that_it_stood_for(redis_url: str, relay: Capture) -> None:
    relay.answers = {QA: refused}
    with desk(redis_url, relay.url, POSTROOM_REDIRECT_ALL=QA, POSTROOM_REDIRECT_EXCEPT="team.example") as here:
        status = here.deliver(here.accept(["ann@example.com", "ben@example.com", "x@team.example"]))
    assert status.state is LetterState.PARTIAL
    assert [each.state for each in status.recipients.values()] == [
        RecipientState.REFUSED,
        RecipientState.REFUSED,
        RecipientState.ACCEPTED,
    ]


def test_a_retry_goes_where_the_worker_is_set_to_when_it_is_made(redis_url: str, relay: Capture) -> None:
    with desk(redis_url, relay.url) as here:
        receipt = here.accept(["ann@example.com", "grey@example.com"])
        assert here.deliver(receipt).state is LetterState.DEFERRED
        operate.flush(here.ledger, receipt.id)
    with desk(redis_url, relay.url, POSTROOM_REDIRECT_ALL=QA) as here:
        assert here.deliver(receipt).state is LetterState.SENT
    assert envelopes(relay) == [["ann@example.com"], [QA]]
    assert original_to(relay) == ["grey@example.com"]

    relay.answers = {QA: greylisted(9)}
    with desk(redis_url, relay.url, POSTROOM_REDIRECT_ALL=QA) as here:
        receipt = here.accept(["ann@example.com", "ben@example.com"])
        assert here.deliver(receipt).state is LetterState.DEFERRED
        operate.flush(here.ledger, receipt.id)
    with desk(redis_url, relay.url) as here:
        assert here.deliver(receipt).state is LetterState.SENT
    assert envelopes(relay)[2:] == [["ann@example.com", "ben@example.com"]]
    assert original_to(relay) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTROOM_REDIRECT_ALL", "qa"),
        ("POSTROOM_REDIRECT_ALL", "qa@a.example, qb@b.example"),
        ("POSTROOM_REDIRECT_ALL", "true"),
        ("POSTROOM_REDIRECT_ALL", "@staging.example"),
        ("POSTROOM_REDIRECT_EXCEPT", "team.example"),
    ],
)
def test_a_worker_refuses_to_start_when_it_cannot_tell_who_is_to_be_mailed(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    process_settings.cache_clear()
    try:
        with pytest.raises(SystemExit, match=variable):
            check_settings()
    finally:
        process_settings.cache_clear()


def held(here: Desk, to: str) -> str:
    receipt = here.accept(to)
    status = here.deliver(receipt)
    assert (status.state, status.attempts, status.reason) == (LetterState.HELD, 0, "POSTROOM_HOLD_ALL is set")
    return receipt.id


def test_every_letter_is_held_until_it_is_released_and_its_retries_are_not(redis_url: str, relay: Capture) -> None:
    with desk(redis_url, relay.url, POSTROOM_HOLD_ALL="yes") as here:
        held(here, "ann@example.com")
        receipt = here.accept("grey@example.com")
        assert here.deliver(receipt).state is LetterState.HELD
        assert not (relay.folder / "envelopes.jsonl").exists()
        operate.release(here.ledger, receipt.id, by="ann@desk")
        assert here.deliver(receipt).state is LetterState.DEFERRED
        operate.flush(here.ledger, receipt.id)
        assert here.deliver(receipt).state is LetterState.SENT
    assert envelopes(relay) == [["grey@example.com"]]


def test_letters_that_waited_when_it_was_set_are_held_and_they_stay_so_when_it_is_unset(
    redis_url: str, relay: Capture
) -> None:
    with desk(redis_url, relay.url) as here:
        receipt = here.accept("grey@example.com")
        assert here.deliver(receipt).state is LetterState.DEFERRED
        operate.flush(here.ledger, receipt.id)
    with desk(redis_url, relay.url, POSTROOM_HOLD_ALL="yes") as here:
        assert here.deliver(receipt).state is LetterState.HELD
    with desk(redis_url, relay.url) as here:
        assert here.deliver(receipt).state is LetterState.HELD
        operate.release(here.ledger, receipt.id)
        assert here.deliver(receipt).state is LetterState.SENT
