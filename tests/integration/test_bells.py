"""The bell is no more than a bell: lost, it is rung again; rung twice, it does nothing."""

from __future__ import annotations

from house import House, NewHouse
from postroom import LetterState
from postroom_worker.dev.server import wait_until


def test_a_bell_that_was_lost_is_rung_again(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_BELL_S="1")
    receipts = [here.postroom.send_letter(f"lost-{number}@example.com", "hi") for number in range(5)]
    assert here.broker.lose() == 5
    here.worker()
    assert {each.wait().state for each in receipts} == {LetterState.SENT}
    assert set(here.relay.accepted.values()) == {1}


def test_an_empty_queue_tells_that_all_bells_were_heard(new_house: NewHouse) -> None:
    here = new_house()
    assert here.postroom.bells.are_all_rung(), "before anybody declared a queue"
    here.postroom.send_letter("waits@example.com", "hi")
    assert not here.postroom.bells.are_all_rung()
    here.broker.lose()
    assert here.postroom.bells.are_all_rung()
    here.postroom.send_letter("bulk@example.com", "hi", priority="bulk")
    assert not here.postroom.bells.are_all_rung()


def test_a_lost_bell_is_rung_again_early_when_the_queue_is_empty(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_BELL_S="900")
    receipt = here.postroom.send_letter("early@example.com", "hi")
    assert here.ledger.release_due(100) == [], "it is not its time"
    [bell] = here.ledger.release_due(100, early_ms=900_000)
    assert bell.letter_id == receipt.id
    assert here.ledger.release_due(100, early_ms=800_000) == [], "it was rung again just now"


def test_a_bell_for_a_letter_that_was_sent_does_nothing(shared: House) -> None:
    receipt = shared.postroom.send_letter("again@example.com", "hi")
    assert receipt.wait().state is LetterState.SENT
    for _ in range(3):
        shared.ring(receipt)
    last = shared.postroom.send_letter("behind@example.com", "hi")
    assert last.wait().state is LetterState.SENT, "the queue is in order: the bells before were heard"
    wait_until(lambda: shared.bells_waiting() == 0, "all bells were heard")
    assert shared.accepted(receipt) == {"again@example.com": 1}
    assert shared.relay.named["again@example.com"] == 1
    assert shared.events(receipt) == ["queued", "attempt"]
