"""Two workers on one schedule: whatever is due is released once, and delivered once."""

from __future__ import annotations

from collections import Counter
from threading import Event

from house import NewHouse
from postroom import LetterState
from postroom_worker.dev.capture import greylisted
from postroom_worker.dev.server import wait_until

LETTERS = 100


def test_two_workers_on_one_schedule_deliver_each_letter_once(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_TIMER_S="0.05")
    workers = [here.worker("one"), here.worker("two")]
    wait_until(lambda: all(" ready." in each.log.read_text() for each in workers), "both are ready")
    moment_ms = here.ledger.now_ms() + 500
    to = [f"due-{number}@example.com" for number in range(LETTERS)]
    have_both = Event()
    here.answers |= dict.fromkeys(to, lambda _: None if have_both.wait(60) else "451 too late")
    receipts = [here.postroom.send_letter(each, "hi", send_at=moment_ms) for each in to]
    wait_until(lambda: all("received" in each.log.read_text() for each in workers), "both have their share")
    have_both.set()
    assert {each.wait().state for each in receipts} == {LetterState.SENT}
    assert Counter(here.relay.accepted.values()) == {1: LETTERS}
    assert {each.status().attempts for each in receipts} == {1}
    by_worker = Counter(log.name for log in here.folder.glob("*.log") if "succeeded" in log.read_text())
    assert by_worker.keys() == {"one.log", "two.log"}, "both had their share"


def test_letters_deferred_together_are_retried_once_each(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_TIMER_S="0.05")
    here.answers |= {f"grey-{number}@example.com": greylisted(1) for number in range(LETTERS)}
    here.worker("one")
    here.worker("two")
    receipts = [here.postroom.send_letter(f"grey-{number}@example.com", "hi") for number in range(LETTERS)]
    assert {each.wait().state for each in receipts} == {LetterState.SENT}
    assert set(here.relay.named.values()) == {2}
    assert Counter(here.relay.accepted.values()) == {1: LETTERS}


def test_one_bell_rung_by_many_hands_is_one_delivery(new_house: NewHouse) -> None:
    here = new_house()
    receipt = here.postroom.send_letter("many-bells@example.com", "hi")
    for _ in range(20):
        here.ring(receipt)
    assert here.bells_waiting() == 21
    here.worker("one")
    here.worker("two")
    assert receipt.wait().state is LetterState.SENT
    wait_until(lambda: here.bells_waiting() == 0, "all bells were heard")
    assert here.accepted(receipt) == {"many-bells@example.com": 1}
    assert here.events(receipt) == ["queued", "attempt"]
