"""A relay's answer that comes after the claim has run out in the window: it tells what nobody knew, and settles it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from house import Desk, desk
from postroom import LetterState, Receipt, RecipientState, operate
from postroom.ledger import Claim, Finish, Recipient, views
from postroom_worker import outbox as outboxes
from postroom_worker.outbox import Outbox, settled_by

ANN, BEN = "ann@example.com", "ben@example.com"
ACCEPTED, DEFERRED, PENDING, REFUSED = (
    RecipientState.ACCEPTED,
    RecipientState.DEFERRED,
    RecipientState.PENDING,
    RecipientState.REFUSED,
)


@pytest.fixture
def hasty(redis_url: str) -> Any:
    """A desk whose claims run out at once, unless they are renewed."""
    with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_LEASE_S="0") as here:
        yield here


def claimed(here: Desk, receipt: Receipt) -> Claim:
    [claim] = here.ledger.claim([receipt.id], "worker")
    assert isinstance(claim, Claim)
    return claim


def in_window(here: Desk, *to: str, policy: str = "hold") -> tuple[Receipt, Claim]:
    """A letter whose end was sent; then its claim ran out."""
    receipt = here.accept(to or ANN, on_uncertain=policy)
    claim = claimed(here, receipt)
    assert here.ledger.enter_window(claim, "default")
    here.ledger.release_due(10)
    return receipt, claim


def finish(claim: Claim, *states: RecipientState) -> Finish:
    """What the worker that wakes up has to tell."""
    recipients = [
        Recipient(each.address, state, "said late", 1) for each, state in zip(claim.recipients, states, strict=True)
    ]
    return Finish(
        state=settled_by(LetterState.SENDING, recipients),
        wait_ms=60_000,
        recipients=recipients,
        attempts=1,
        uncertain=0,
        pauses=0,
        reason="",
        event={"event": "attempt", "number": 1},
    )


def wakes_up(here: Desk, claim: Claim, *states: RecipientState) -> None:
    outbox = Outbox(here.office)
    outbox.finish(claim, finish(claim, *states))
    outbox.flush()


def events(receipt: Receipt, here: Desk) -> list[str]:
    return [str(each["event"]) for each in views.account(here.ledger, receipt.id).history]


def test_a_held_letter_that_was_accepted_after_all_is_sent(hasty: Desk) -> None:
    receipt, claim = in_window(hasty)
    assert receipt.status().state is LetterState.HELD
    wakes_up(hasty, claim, ACCEPTED)
    assert receipt.status().state is LetterState.SENT
    assert events(receipt, hasty)[-1] == "testified"
    assert views.letter_json(hasty.ledger, receipt.id) is None, "what was sent keeps its account, not its content"


def test_a_held_letter_that_was_refused_has_failed(hasty: Desk) -> None:
    receipt, claim = in_window(hasty)
    wakes_up(hasty, claim, REFUSED)
    assert receipt.status().state is LetterState.FAILED


def test_a_letter_that_waits_to_be_sent_again_is_not(hasty: Desk) -> None:
    receipt, claim = in_window(hasty, policy="resend")
    assert receipt.status().state is LetterState.QUEUED
    wakes_up(hasty, claim, ACCEPTED)
    assert receipt.status().state is LetterState.SENT
    assert hasty.ledger.claim([receipt.id], "another") == ["sent"]


def test_whoever_has_claimed_it_by_then_sends_nothing_more(hasty: Desk) -> None:
    receipt, claim = in_window(hasty, policy="resend")
    other = claimed(hasty, receipt)
    wakes_up(hasty, claim, ACCEPTED)
    assert receipt.status().state is LetterState.SENT
    assert not hasty.ledger.enter_window(other, "default")
    assert not hasty.ledger.finish(other, finish(other, DEFERRED))
    assert receipt.status().state is LetterState.SENT


def test_of_two_in_their_windows_each_is_heard(hasty: Desk) -> None:
    receipt, claim = in_window(hasty, ANN, BEN, policy="resend")
    other = claimed(hasty, receipt)
    assert hasty.ledger.enter_window(other, "default")
    wakes_up(hasty, claim, ACCEPTED, DEFERRED)
    assert receipt.status().state is LetterState.DEFERRED
    wakes_up(hasty, other, ACCEPTED, ACCEPTED)
    status = receipt.status()
    assert status.state is LetterState.SENT
    assert {each.state for each in status.recipients.values()} == {ACCEPTED}


def test_those_who_were_only_deferred_are_still_to_be_served(hasty: Desk) -> None:
    receipt, claim = in_window(hasty, ANN, BEN)
    wakes_up(hasty, claim, ACCEPTED, DEFERRED)
    status = receipt.status()
    assert status.state is LetterState.HELD
    assert status.reason.startswith("uncertain"), "why it is held is still told"
    assert [each.state for each in status.recipients.values()] == [ACCEPTED, PENDING]


def test_what_an_operator_did_meanwhile_is_seen(hasty: Desk) -> None:
    receipt, claim = in_window(hasty)
    operate.retry(hasty.ledger, receipt.id)
    wakes_up(hasty, claim, ACCEPTED)
    assert receipt.status().state is LetterState.SENT


def test_a_letter_that_was_cancelled_too_late_is_not_said_to_be(hasty: Desk) -> None:
    receipt, claim = in_window(hasty, ANN, BEN)
    operate.cancel(hasty.ledger, receipt.id)
    wakes_up(hasty, claim, ACCEPTED, REFUSED)
    status = receipt.status()
    assert status.state is LetterState.PARTIAL
    assert [each.state for each in status.recipients.values()] == [ACCEPTED, RecipientState.CANCELLED]


def test_a_cancelled_letter_that_was_refused_stays_so(hasty: Desk) -> None:
    receipt, claim = in_window(hasty)
    operate.cancel(hasty.ledger, receipt.id)
    wakes_up(hasty, claim, REFUSED)
    assert receipt.status().state is LetterState.CANCELLED


def test_a_claim_that_left_no_window_is_not_heard(hasty: Desk) -> None:
    receipt = hasty.accept(ANN)
    claim = claimed(hasty, receipt)
    hasty.ledger.release_due(10)
    wakes_up(hasty, claim, ACCEPTED)
    assert receipt.status().state is LetterState.QUEUED


@pytest.mark.parametrize(
    ("seen", "said", "known"),
    [
        ([PENDING], [ACCEPTED], [ACCEPTED]),
        ([DEFERRED], [REFUSED], [REFUSED]),
        ([REFUSED], [ACCEPTED], [ACCEPTED]),
        ([ACCEPTED], [REFUSED], [ACCEPTED]),
        ([ACCEPTED], [DEFERRED], [ACCEPTED]),
        ([PENDING], [DEFERRED], [PENDING]),
        ([PENDING, ACCEPTED], [ACCEPTED, DEFERRED], [ACCEPTED, ACCEPTED]),
    ],
)
def test_nobody_who_was_accepted_is_open_again(
    seen: Sequence[RecipientState], said: Sequence[RecipientState], known: Sequence[RecipientState]
) -> None:
    def recipients(states: Sequence[RecipientState]) -> list[Recipient]:
        return [Recipient(f"r{place}", state) for place, state in enumerate(states)]

    assert [each.state for each in outboxes.testimony(recipients(seen), recipients(said))] == list(known)
