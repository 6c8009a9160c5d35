"""The idempotency key: letters with the same key are one letter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from house import House, NewHouse
from postroom import InvalidLetter, LetterState, Receipt, operate


def test_the_same_letter_under_one_key_is_sent_once(shared: House) -> None:
    first, second = (
        shared.postroom.send_letter("order@example.com", "thank you", idempotency_key="order-1") for _ in range(2)
    )
    assert first == second
    assert first.wait().state is LetterState.SENT
    third = shared.postroom.send_letter("order@example.com", "thank you", idempotency_key="order-1")
    assert third.wait().state is LetterState.SENT
    assert shared.accepted(first) == {"order@example.com": 1}
    assert shared.relay.named["order@example.com"] == 1


def test_another_letter_under_the_same_key_is_an_error(shared: House) -> None:
    first = shared.postroom.send_letter("key-2@example.com", "thank you", idempotency_key="order-2")
    with pytest.raises(InvalidLetter, match="idempotency_key") as caught:
        shared.postroom.send_letter("key-2@example.com", "no, thank you", idempotency_key="order-2")
    assert [problem.field for problem in caught.value.problems] == ["idempotency_key"]
    first.wait()
    assert shared.accepted(first) == {"key-2@example.com": 1}


def test_a_key_is_one_letter_however_many_send_it_at_once(shared: House) -> None:
    def send(_number: int) -> str:
        return shared.postroom.send_letter("race@example.com", "hi", idempotency_key="race").id

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(send, range(40)))
    assert len(ids) == 1
    receipt = shared.postroom.receipt(ids.pop())
    assert receipt.wait().state is LetterState.SENT
    assert shared.accepted(receipt) == {"race@example.com": 1}


def test_different_keys_are_different_letters(shared: House) -> None:
    receipts = [
        shared.postroom.send_letter("keys@example.com", "hi", idempotency_key=key) for key in ("a", "A", "a ", "ä")
    ]
    assert len({each.id for each in receipts}) == 4
    assert {each.wait().state for each in receipts} == {LetterState.SENT}
    assert shared.relay.named["keys@example.com"] == 4


def test_a_key_is_its_letters_as_long_as_the_ledger_knows_it_whatever_became_of_it(new_house: NewHouse) -> None:
    here = new_house()

    def send() -> Receipt:
        return here.postroom.send_letter("order@example.com", "thank you", idempotency_key="order-3")

    first = send()
    first.cancel()
    assert send() == first
    assert first.status().state is LetterState.CANCELLED, "to send it all the same is to retry it"
    operate.purge(here.ledger, first.id)
    assert send() == first
    assert first.status().state is LetterState.QUEUED, "forgotten, it is a new letter under the old id"
