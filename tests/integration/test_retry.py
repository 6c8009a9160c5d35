"""Retrying a letter that is over: it goes to those who did not get it, and only to them."""

from __future__ import annotations

import pytest

from house import House
from postroom import LetterState, RecipientState, TooLate, operate
from postroom.sending import ring
from postroom_worker.dev.capture import refused


def retry(house: House, letter_id: str) -> None:
    """What `postroom retry` does."""
    ring(house.postroom.bells, operate.retry(house.ledger, letter_id, by="ann", reason="the mailbox is back"))


def test_a_retried_letter_goes_only_to_those_who_did_not_get_it(shared: House) -> None:
    shared.answers["moved@example.com"] = refused
    receipt = shared.postroom.send_letter(["has-it@example.com", "moved@example.com"], "hi")
    assert receipt.wait().state is LetterState.PARTIAL
    shared.answers.pop("moved@example.com")
    retry(shared, receipt.id)
    status = receipt.wait()
    assert status.state is LetterState.SENT
    assert status.recipients["has-it@example.com"].attempts == 1
    assert status.recipients["moved@example.com"].attempts == 2
    assert shared.accepted(receipt) == {"has-it@example.com": 1, "moved@example.com": 1}
    assert shared.relay.named["has-it@example.com"] == 1
    first, second = shared.octets(receipt)
    assert first == second
    assert shared.events(receipt) == ["queued", "attempt", "retried", "attempt"]


def test_a_failed_letter_that_fails_again_can_be_retried_again(shared: House) -> None:
    shared.answers["gone@example.com"] = refused
    receipt = shared.postroom.send_letter("gone@example.com", "hi")
    assert receipt.wait().state is LetterState.FAILED
    for attempts in (2, 3):
        retry(shared, receipt.id)
        status = receipt.wait()
        assert status.state is LetterState.FAILED
        assert status.recipients["gone@example.com"].attempts == attempts
    assert shared.relay.named["gone@example.com"] == 3


def test_a_cancelled_letter_can_be_sent_after_all(shared: House) -> None:
    receipt = shared.postroom.send_letter("after-all@example.com", "hi", send_at=4_000_000_000_000)
    assert receipt.cancel().state is LetterState.CANCELLED
    retry(shared, receipt.id)
    status = receipt.wait()
    assert status.state is LetterState.SENT
    assert status.recipients["after-all@example.com"].state is RecipientState.ACCEPTED


def test_a_letter_that_everybody_got_cannot_be_retried(shared: House) -> None:
    receipt = shared.postroom.send_letter("all-have-it@example.com", "hi")
    assert receipt.wait().state is LetterState.SENT
    with pytest.raises(TooLate):
        retry(shared, receipt.id)
    assert shared.accepted(receipt) == {"all-have-it@example.com": 1}
