"""kill -9 of a worker with a letter in hand: its claim runs out, and another worker delivers the letter."""

from __future__ import annotations

from collections import Counter

import pytest

from house import House, NewHouse
from postroom import LetterState, RecipientState
from postroom.ledger import views
from postroom_worker.dev.server import wait_until
from scripted_relay import ScriptedRelay, scripted_relay, silent


def in_hand(relay: ScriptedRelay, here: House, step: str) -> None:
    """Wait until the relay was told so far by the first worker."""
    wait_until(lambda: step in relay.verbs, f"the relay hears {step}")


def test_a_letter_whose_worker_dies_before_its_end_was_sent_is_delivered_by_another(new_house: NewHouse) -> None:
    with scripted_relay({"data": silent}, {}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url, POSTROOM_LEASE_S="2")
        first = here.worker("first")
        receipt = here.postroom.send_letter("killed@example.com", "hi")
        in_hand(relay, here, "DATA")
        first.kill()
        assert receipt.status().state is LetterState.SENDING
        here.worker("second")
        status = receipt.wait()
        assert status.state is LetterState.SENT
        assert status.recipients["killed@example.com"].attempts == 1, "a worker's death is no attempt of the letter"
        assert relay.accepted == {"killed@example.com": 1}
        assert "died" in here.events(receipt)
        assert "uncertain" not in here.events(receipt)


@pytest.mark.parametrize(
    ("policy", "settled", "copies"), [("resend", LetterState.SENT, 1), ("hold", LetterState.HELD, 0)]
)
def test_a_letter_whose_worker_dies_in_the_window_follows_its_policy(
    policy: str, settled: LetterState, copies: int, new_house: NewHouse
) -> None:
    with scripted_relay({"content": silent}, {}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url, POSTROOM_LEASE_S="2")
        first = here.worker("first")
        receipt = here.postroom.send_letter("window@example.com", "hi", on_uncertain=policy)
        wait_until(lambda: relay.sessions and relay.sessions[0].has_content, "the relay has the whole content")
        first.kill()
        here.worker("second")
        status = receipt.wait()
        assert status.state is settled
        assert relay.accepted == Counter({"window@example.com": copies} if copies else {})
        assert "uncertain" in here.events(receipt)


def test_a_letter_that_kills_every_worker_is_held_with_the_reason(new_house: NewHouse) -> None:
    with scripted_relay({"data": silent}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url, POSTROOM_LEASE_S="1", POSTROOM_DEATHS_MAX="2")
        receipt = here.postroom.send_letter("poison@example.com", "hi")
        for number in (1, 2):
            worker = here.worker(f"victim-{number}", "--concurrency=1")
            wait_until(lambda times=number: relay.verbs.count("DATA") == times, "it is in hand")  # type: ignore[misc]
            worker.kill()
        here.worker("last", "--concurrency=1")
        status = receipt.wait()
        assert status.state is LetterState.HELD
        assert status.reason == "its worker died 2 times"
        assert status.recipients["poison@example.com"].state is RecipientState.PENDING
        assert relay.accepted == {}
        assert views.letter_json(here.ledger, receipt.id), "it is kept, and can be released"


def test_what_one_worker_has_in_hand_does_not_hold_up_the_others(new_house: NewHouse) -> None:
    with scripted_relay({"content": silent}, {}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url, POSTROOM_LEASE_S="2")
        first = here.worker("first", "--concurrency=1")
        stuck = here.postroom.send_letter("stuck@example.com", "hi", on_uncertain="hold")
        wait_until(lambda: relay.sessions and relay.sessions[0].has_content, "the relay has the whole content")
        here.worker("second", "--concurrency=1")
        others = [here.postroom.send_letter(f"other-{number}@example.com", "hi") for number in range(10)]
        assert {each.wait().state for each in others} == {LetterState.SENT}
        assert stuck.status().state is LetterState.SENDING, "its claim is renewed as long as its worker lives"
        first.kill()
        assert stuck.wait().state is LetterState.HELD
        assert sum(relay.accepted.values()) == 10
