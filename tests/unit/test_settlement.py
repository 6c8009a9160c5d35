"""What an attempt comes to: from the answers to what the ledger records."""

from __future__ import annotations

from typing import Any

import pytest

from postroom import LetterState, RecipientState
from postroom.ledger import Claim, Recipient
from postroom.ledger.transitions import Times
from postroom.reply import Reply
from postroom_worker import settlement
from postroom_worker.backoff import Backoff
from postroom_worker.outcome import Answer, Phase, Silence
from postroom_worker.settlement import Attempt, Rules

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
TIMES = Times(
    lease_ms=60_000,
    bell_ms=900_000,
    keep_sent_ms=7 * HOUR_MS,
    keep_failed_ms=9 * HOUR_MS,
    uncertain_max=3,
    deaths_max=5,
)
RULES = Rules(Backoff(first_s=60, max_s=3600), TIMES, pauses_max=3)

TAKEN = Answer(Phase.CONTENT, Reply(250, "taken", "2.0.0"))
LATER = Answer(Phase.RCPT, Reply(451, "greylisted", "4.7.1"))
NOBODY = Answer(Phase.RCPT, Reply(550, "no such mailbox", "5.1.1"))
DOWN = Answer(Phase.CONNECT, Silence.NO_CONNECTION, "refused")
LOST = Answer(Phase.CONTENT, Silence.CONNECTION_LOST, "the relay hung up")


def claim(*states: RecipientState, **changes: Any) -> Claim:
    """A claim on a letter to so many recipients: r0, r1, ..."""
    defaults: dict[str, Any] = {
        "letter_id": "L1",
        "nonce": "n",
        "fence": 1,
        "now_ms": NOW_MS,
        "claimed_s": 0.0,
        "letter": b"",
        "recipients": tuple(Recipient(f"r{place}", state) for place, state in enumerate(states)),
        "attempts": 0,
        "expires_ms": 0,
        "give_up_ms": NOW_MS + 48 * HOUR_MS,
        "uncertain": 0,
        "pauses": 0,
        "on_uncertain": "resend",
        "contents": (),
    }
    return Claim(**defaults | changes)


def attempt(*answers: Answer, took_ms: int = 5) -> Attempt:
    """What was met, for r0, r1, ..."""
    return Attempt("default", "w1", took_ms, {f"r{place}": answer for place, answer in enumerate(answers)})


PENDING = RecipientState.PENDING


@pytest.mark.parametrize(
    ("answers", "state", "recipients", "wait_ms"),
    [
        ([TAKEN, TAKEN], LetterState.SENT, "accepted accepted", 7 * HOUR_MS),
        ([TAKEN, NOBODY], LetterState.PARTIAL, "accepted refused", 9 * HOUR_MS),
        ([NOBODY, NOBODY], LetterState.FAILED, "refused refused", 9 * HOUR_MS),
        ([TAKEN, LATER], LetterState.DEFERRED, "accepted deferred", 60_000),
        ([NOBODY, LATER], LetterState.DEFERRED, "refused deferred", 60_000),
        ([LOST, LOST], LetterState.DEFERRED, "deferred deferred", 60_000),
        ([NOBODY, LOST], LetterState.DEFERRED, "refused deferred", 60_000),
    ],
)
def test_the_letters_state_follows_from_the_answers(
    answers: list[Answer], state: LetterState, recipients: str, wait_ms: int
) -> None:
    finish = settlement.settle(claim(PENDING, PENDING), attempt(*answers), RULES, 1.0)
    assert finish.state is state
    assert [each.state for each in finish.recipients] == recipients.split()
    assert finish.wait_ms == wait_ms
    assert finish.attempts == 1
    assert [each.attempts for each in finish.recipients] == [1, 1]


def test_who_was_served_before_stays_so() -> None:
    before = Recipient("r0", RecipientState.ACCEPTED, "250 ok", 1)
    claimed = claim(recipients=(before, Recipient("r1", RecipientState.DEFERRED, "451 later", 1)), attempts=1)
    finish = settlement.settle(claimed, Attempt("default", "w1", 5, {"r1": TAKEN}), RULES, 0.5)
    assert finish.recipients[0] == before
    assert finish.recipients[1] == Recipient("r1", RecipientState.ACCEPTED, "250 2.0.0 taken", 2)
    assert finish.state is LetterState.SENT
    assert [each["address"] for each in finish.event["recipients"]] == ["r1"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("attempts", "wait_s"), [(0, 60), (1, 120), (2, 240), (9, 3600)])
def test_each_attempt_waits_longer(attempts: int, wait_s: int) -> None:
    finish = settlement.settle(claim(PENDING, attempts=attempts), attempt(LATER), RULES, 1.0)
    assert finish.wait_ms == wait_s * 1000


# --- the relay's fault ------------------------------------------------------------------------------------------------


def test_a_relay_that_is_down_costs_no_attempt() -> None:
    finish = settlement.settle(claim(PENDING, attempts=2), attempt(DOWN), RULES, 1.0, pause_ms=5000)
    assert (finish.state, finish.wait_ms) == (LetterState.DEFERRED, 10_000), "others probe the relay first"
    assert (finish.attempts, finish.pauses) == (2, 1)
    assert finish.recipients == [Recipient("r0", RecipientState.DEFERRED, "no-connection at connect: refused", 0)]


def test_after_three_pauses_in_a_row_the_letter_pays() -> None:
    paid = []
    pauses = attempts = 0
    for _ in range(5):
        finish = settlement.settle(claim(PENDING, pauses=pauses, attempts=attempts), attempt(DOWN), RULES, 1.0, 5000)
        pauses, attempts = finish.pauses, finish.attempts
        paid.append(attempts)
    assert paid == [0, 0, 0, 1, 2]


def test_another_answer_than_a_pause_ends_the_row_of_pauses() -> None:
    assert settlement.settle(claim(PENDING, pauses=3), attempt(LATER), RULES, 1.0).pauses == 0


def test_a_session_that_was_over_costs_nothing_and_no_time() -> None:
    over = Answer(Phase.IDLE, Reply(421, "idle"))
    finish = settlement.settle(claim(PENDING), attempt(over), RULES, 1.0)
    assert (finish.state, finish.wait_ms, finish.attempts) == (LetterState.DEFERRED, 0, 0)


# --- uncertain --------------------------------------------------------------------------------------------------------


def test_an_uncertain_letter_is_sent_again_and_says_so() -> None:
    finish = settlement.settle(claim(PENDING), attempt(LOST), RULES, 1.0)
    assert (finish.state, finish.uncertain) == (LetterState.DEFERRED, 1)
    assert finish.recipients[0].reply.startswith("uncertain, it may have been accepted: connection-lost at content")


def test_an_uncertain_letter_under_hold_is_held() -> None:
    finish = settlement.settle(claim(PENDING, on_uncertain="hold"), attempt(LOST), RULES, 1.0)
    assert (finish.state, finish.wait_ms) == (LetterState.HELD, 0)
    assert finish.reason.startswith("uncertain")


@pytest.mark.parametrize(("before", "state"), [(1, LetterState.DEFERRED), (2, LetterState.HELD), (7, LetterState.HELD)])
def test_the_third_uncertain_attempt_holds_even_what_may_be_sent_again(before: int, state: LetterState) -> None:
    assert settlement.settle(claim(PENDING, uncertain=before), attempt(LOST), RULES, 1.0).state is state


def test_a_certain_attempt_under_hold_holds_nothing() -> None:
    finish = settlement.settle(claim(PENDING, on_uncertain="hold", uncertain=2), attempt(LATER), RULES, 1.0)
    assert finish.state is LetterState.DEFERRED


# --- too late ---------------------------------------------------------------------------------------------------------


def test_a_letter_that_would_expire_before_its_retry_expires_now() -> None:
    claimed = claim(PENDING, PENDING, expires_ms=NOW_MS + 60_000)
    finish = settlement.settle(claimed, attempt(TAKEN, LATER), RULES, 1.0)
    assert finish.state is LetterState.PARTIAL
    assert [each.state for each in finish.recipients] == [RecipientState.ACCEPTED, RecipientState.EXPIRED]
    assert finish.recipients[1].reply == "451 4.7.1 greylisted", "what the server last said stays"
    assert "expires_in" in finish.reason


def test_a_letter_whose_retry_comes_just_in_time_is_retried() -> None:
    claimed = claim(PENDING, expires_ms=NOW_MS + 60_006)
    assert settlement.settle(claimed, attempt(LATER), RULES, 1.0).state is LetterState.DEFERRED


def test_a_letter_deferred_for_too_long_is_given_up() -> None:
    finish = settlement.settle(claim(PENDING, give_up_ms=NOW_MS + 1000), attempt(LATER), RULES, 1.0)
    assert finish.state is LetterState.FAILED
    assert finish.reason.startswith("given up")


@pytest.mark.parametrize(
    ("expires_ms", "give_up_ms", "later_ms", "why"),
    [
        (0, NOW_MS + 1, 0, ""),
        (NOW_MS + 1, NOW_MS + 1, 0, ""),
        (NOW_MS, NOW_MS + 9, 0, "expires_in"),
        (NOW_MS + 5, NOW_MS + 9, 5, "expires_in"),
        (0, NOW_MS, 0, "given up"),
        (0, NOW_MS + 5, 5, "given up"),
    ],
)
def test_too_late_is_judged_from_the_claim_on(expires_ms: int, give_up_ms: int, later_ms: int, why: str) -> None:
    found = settlement.too_late(claim(PENDING, expires_ms=expires_ms, give_up_ms=give_up_ms), later_ms)
    assert why in found
    assert bool(found) == bool(why)


def test_who_was_not_served_in_time_has_expired_and_the_others_stay() -> None:
    claimed = claim(RecipientState.ACCEPTED, RecipientState.REFUSED, PENDING, RecipientState.DEFERRED)
    finish = settlement.expire(claimed, RULES, "too late")
    assert [each.state for each in finish.recipients] == ["accepted", "refused", "expired", "expired"]
    assert (finish.state, finish.reason, finish.attempts) == (LetterState.PARTIAL, "too late", 0)


def test_a_letter_that_waits_through_no_fault_of_its_own_is_as_it_was() -> None:
    claimed = claim(PENDING, RecipientState.DEFERRED, attempts=2, uncertain=1, pauses=1)
    finish = settlement.wait(claimed, 5000, "the relay is paused")
    assert (finish.state, finish.wait_ms) == (LetterState.DEFERRED, 5000)
    assert (finish.recipients, finish.attempts, finish.uncertain, finish.pauses) == (claimed.recipients, 2, 1, 1)


def test_a_letter_that_cannot_be_read_is_put_aside() -> None:
    finish = settlement.reject(claim(PENDING), RULES, "no schema")
    assert (finish.state, finish.reason, finish.wait_ms) == (LetterState.REJECTED, "no schema", 9 * HOUR_MS)


def test_the_event_tells_the_attempt_with_all_its_keys() -> None:
    finish = settlement.settle(claim(PENDING, PENDING), attempt(TAKEN, LATER, took_ms=12), RULES, 1.0)
    assert finish.event == {
        "event": "attempt",
        "number": 1,
        "relay": "default",
        "worker": "w1",
        "took_ms": 12,
        "recipients": [
            {"address": "r0", "state": "accepted", "reply": "250 2.0.0 taken"},
            {"address": "r1", "state": "deferred", "reply": "451 4.7.1 greylisted"},
        ],
        "state": "deferred",
        "next_in_ms": 60_000,
        "why": "",
    }
