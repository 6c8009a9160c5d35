"""Cancelling: in time nobody gets the letter; too late is said to be too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from house import House, NewHouse
from postroom import LetterState, RecipientState, TooLate
from postroom_worker.dev.capture import greylisted
from postroom_worker.dev.scripted_relay import both, say, scripted_relay, wait_for
from postroom_worker.dev.server import wait_until


def test_a_letter_cancelled_before_a_worker_came_reaches_nobody(new_house: NewHouse) -> None:
    here = new_house()
    cancelled = here.postroom.send_letter("cancelled@example.com", "hi")
    status = cancelled.cancel()
    assert status.state is LetterState.CANCELLED
    assert status.recipients["cancelled@example.com"].state is RecipientState.CANCELLED
    here.worker()
    behind = here.postroom.send_letter("behind@example.com", "hi")
    assert behind.wait().state is LetterState.SENT
    wait_until(lambda: here.bells_waiting() == 0, "all bells were heard")
    assert here.relay.accepted.keys() == {(f"<{behind.id}@example.org>", "behind@example.com")}
    assert cancelled.status().state is LetterState.CANCELLED


def test_a_scheduled_letter_can_be_cancelled(shared: House) -> None:
    receipt = shared.postroom.send_letter("tomorrow@example.com", "hi", send_at=datetime.now(UTC) + timedelta(days=1))
    assert receipt.cancel().state is LetterState.CANCELLED
    assert shared.events(receipt) == ["scheduled", "cancelled"]


def test_a_letter_that_is_being_sent_cannot_be_cancelled(new_house: NewHouse) -> None:
    go_on = Event()
    with scripted_relay({"content": both(wait_for(go_on), say("250 2.0.0 taken"))}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        here.worker()
        receipt = here.postroom.send_letter("sending@example.com", "hi")
        wait_until(lambda: relay.sessions and relay.sessions[0].has_content, "the relay has the whole content")
        with pytest.raises(TooLate, match="sending"):
            receipt.cancel()
        go_on.set()
        assert receipt.wait().state is LetterState.SENT
        assert relay.accepted == {"sending@example.com": 1}


def test_a_letter_that_was_sent_cannot_be_cancelled(shared: House) -> None:
    receipt = shared.postroom.send_letter("sent@example.com", "hi")
    receipt.wait()
    with pytest.raises(TooLate, match="sent"):
        receipt.cancel()


def test_cancelling_a_deferred_letter_leaves_alone_who_has_it(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_RETRY_FIRST_S="60", POSTROOM_RETRY_MAX_S="60")
    here.answers["grey@example.com"] = greylisted(1000)
    here.worker()
    receipt = here.postroom.send_letter(["has-it@example.com", "grey@example.com"], "hi")
    here.wait_for(receipt, LetterState.DEFERRED)
    status = receipt.cancel()
    assert status.state is LetterState.PARTIAL
    assert status.recipients["has-it@example.com"].state is RecipientState.ACCEPTED
    assert status.recipients["grey@example.com"].state is RecipientState.CANCELLED
    assert here.accepted(receipt) == {"has-it@example.com": 1}
