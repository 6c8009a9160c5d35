"""What is counted of an attempt: few series, whatever a relay says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from postroom import metrics
from postroom.ledger import Claim, Finish, Recipient
from postroom.ledger.counts import SUM_MS
from postroom.reply import Reply
from postroom.states import LetterState
from postroom_worker.counting import reason, series_of, worst
from postroom_worker.outcome import Answer, Outcome, Phase, Silence
from postroom_worker.settlement import Attempt

OK = Answer(Phase.CONTENT, Reply.of(250, ["2.0.0 queued"]))
GREY = Answer(Phase.RCPT, Reply.of(451, ["4.7.1 greylisted"]))
GONE = Answer(Phase.RCPT, Reply.of(550, ["5.1.1 no such mailbox"]))
LOST = Answer(Phase.CONTENT, Silence.CONNECTION_LOST)
DOWN = Answer(Phase.CONNECT, Silence.NO_CONNECTION)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (OK, "content 2xx 2.0.x"),
        (GREY, "rcpt 4xx 4.7.x"),
        (Answer(Phase.RCPT, Reply.of(452, ["no room"])), "rcpt 4xx"),
        (Answer(Phase.DATA, Reply.of(554, ["5.99.1 what"])), "data 5xx"),
        (DOWN, "connect no-connection"),
        (Answer(Phase.PROGRAM, Reply(67)), "program 67"),
    ],
)
def test_a_reason_is_the_phase_and_the_class_and_subject_of_the_reply(answer: Answer, told: str) -> None:
    assert reason(answer) == told


@settings(max_examples=50)
@given(
    st.sampled_from(sorted(set(Phase) - {Phase.PROGRAM})),
    st.integers(200, 599),
    st.integers(0, 999),
)
def test_whatever_a_relay_says_there_are_few_reasons(phase: Phase, code: int, subject: int) -> None:
    classes = [f"{each}xx" for each in (2, 3, 4, 5)]
    subjects = [f" {number}.{each}.x" for number in (2, 4, 5) for each in range(8)]
    few = {f"{phase} {each}{more}" for each in classes for more in ["", *subjects]}
    assert reason(Answer(phase, Reply.of(code, [f"{code // 100}.{subject}.17 at 12:34:56"]))) in few


@pytest.mark.parametrize(
    ("answers", "met"),
    [
        ([OK], Outcome.ACCEPTED),
        ([GONE, OK], Outcome.REFUSED),
        ([OK, GREY, GONE], Outcome.DEFERRED),
        ([DOWN, GREY], Outcome.PAUSE_RELAY),
        ([LOST, DOWN, OK], Outcome.UNCERTAIN),
    ],
)
def test_an_attempt_counts_by_the_worst_that_a_recipient_met(answers: list[Answer], met: Outcome) -> None:
    attempt = Attempt("mx", "w", 7, {f"{place}@example.com": each for place, each in enumerate(answers)})
    assert worst(attempt)[0] is met


CLAIM = Claim(
    letter_id="L",
    nonce="n",
    fence=1,
    now_ms=100_000,
    claimed_s=0.0,
    letter=b"{}",
    recipients=(Recipient("ann@example.com"),),
    attempts=0,
    expires_ms=0,
    give_up_ms=200_000,
    uncertain=0,
    pauses=0,
    on_uncertain="resend",
    queue="postroom.bulk",
    begins_ms=98_000,
)
SENT = Finish(state=LetterState.SENT, wait_ms=0, recipients=(), attempts=1, uncertain=0, pauses=0, reason="", event={})
ATTEMPT = Attempt("mx", "w", 120, {"ann@example.com": OK, "ben@example.com": OK})


def test_a_letter_that_was_sent_counts_from_when_it_might_first_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.clock.steady_s", lambda: 0.5)
    assert series_of(CLAIM, ATTEMPT, SENT) == [
        ((metrics.ATTEMPTS.name, "mx", "accepted", ""), 1),
        ((metrics.ATTEMPT_SECONDS.name, "mx", "0.25"), 1),
        ((metrics.ATTEMPT_SECONDS.name, "mx", SUM_MS), 120),
        ((metrics.ANSWERS.name, "mx", "accepted", "content 2xx 2.0.x", ""), 1),
        ((metrics.ANSWERS.name, "mx", "accepted", "content 2xx 2.0.x", ""), 1),
        ((metrics.DELIVERY_SECONDS.name, "mx", "postroom.bulk", "2.5"), 1),
        ((metrics.DELIVERY_SECONDS.name, "mx", "postroom.bulk", SUM_MS), 2500),
    ]


@pytest.mark.parametrize("state", sorted(set(LetterState) - {LetterState.SENT, LetterState.PARTIAL}))
def test_a_letter_that_was_not_sent_has_taken_no_time_yet(state: LetterState) -> None:
    names = {series[0] for series, _ in series_of(CLAIM, ATTEMPT, replace(SENT, state=state))}
    assert metrics.DELIVERY_SECONDS.name not in names


def test_a_time_longer_than_all_buckets_is_in_the_last_one() -> None:
    counted = series_of(CLAIM, replace(ATTEMPT, took_ms=10**9), SENT)
    assert ((metrics.ATTEMPT_SECONDS.name, "mx", "+Inf"), 1) in counted


def test_a_relay_that_turned_the_letter_away_counts_an_attempt_too() -> None:
    counted = series_of(CLAIM, replace(ATTEMPT, turned_away=[("first", "421 too busy")]), SENT)
    assert ((metrics.ATTEMPTS.name, "first", "pause-relay", ""), 1) in counted
