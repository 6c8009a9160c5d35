"""Each recipient has an outcome of its own: what one is told costs the others nothing."""

from __future__ import annotations

from itertools import pairwise

from house import House
from postroom import LetterState, RecipientState
from postroom.ledger import views
from postroom_worker.dev.capture import greylisted, refused


def test_a_greylisted_recipient_is_retried_alone(shared: House) -> None:
    shared.answers |= {"grey-1@example.com": greylisted(2), "no-1@example.com": refused}
    receipt = shared.postroom.send_letter(["ann-1@example.com", "grey-1@example.com", "no-1@example.com"], "hi")
    status = receipt.wait()
    assert status.state is LetterState.PARTIAL
    states = {address: (each.state, each.attempts) for address, each in status.recipients.items()}
    assert states == {
        "ann-1@example.com": (RecipientState.ACCEPTED, 1),
        "grey-1@example.com": (RecipientState.ACCEPTED, 3),
        "no-1@example.com": (RecipientState.REFUSED, 1),
    }
    assert status.recipients["no-1@example.com"].reply == "550 5.1.1 No such mailbox here"
    assert shared.accepted(receipt) == {"ann-1@example.com": 1, "grey-1@example.com": 1}
    assert shared.relay.named["ann-1@example.com"] == 1
    assert shared.relay.named["no-1@example.com"] == 1
    assert shared.relay.named["grey-1@example.com"] == 3


def test_both_copies_of_a_letter_that_was_retried_are_the_same_octets(shared: House) -> None:
    shared.answers["grey-2@example.com"] = greylisted(1)
    receipt = shared.postroom.send_letter(["ann-2@example.com", "grey-2@example.com"], "hi", html="<p>hi")
    assert receipt.wait().state is LetterState.SENT
    first, second = shared.octets(receipt)
    assert first == second


def test_the_schedule_tells_when_a_deferred_letter_is_tried_again(shared: House) -> None:
    shared.answers["grey-3@example.com"] = greylisted(3)
    receipt = shared.postroom.send_letter("grey-3@example.com", "hi")
    shared.wait_for(receipt, LetterState.DEFERRED, LetterState.SENT)
    assert receipt.wait().state is LetterState.SENT
    attempts = [each for each in views.account(shared.ledger, receipt.id).history if each["event"] == "attempt"]
    assert [each["state"] for each in attempts] == ["deferred", "deferred", "deferred", "sent"]
    for earlier, later in pairwise(attempts):
        assert later["at_ms"] >= earlier["at_ms"] + earlier["next_in_ms"], "never before its time"


def test_a_letter_that_everybody_refuses_fails_and_is_not_tried_again(shared: House) -> None:
    shared.answers |= {"no-4@example.com": refused, "no-5@example.com": refused}
    receipt = shared.postroom.send_letter(["no-4@example.com", "no-5@example.com"], "hi")
    status = receipt.wait()
    assert status.state is LetterState.FAILED
    assert status.next_attempt_at is None
    assert {each.state for each in status.recipients.values()} == {RecipientState.REFUSED}
    assert shared.accepted(receipt) == {}
    assert shared.relay.named["no-4@example.com"] == shared.relay.named["no-5@example.com"] == 1
    assert shared.events(receipt) == ["queued", "attempt"]


def test_a_mailbox_named_three_times_gets_one_copy(shared: House) -> None:
    receipt = shared.postroom.send_letter("twice@example.com", "hi", cc="twice@EXAMPLE.com", bcc="twice@example.com")
    assert receipt.wait().state is LetterState.SENT
    assert sum(shared.accepted(receipt).values()) == 1
