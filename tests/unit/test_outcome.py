"""What a reply means: the table, read by a pure function."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from postroom.reply import Reply
from postroom_worker.outcome import Answer, Outcome, Phase, Scope, Silence, outcome, table


def replies() -> Iterator[Reply]:
    """Every code, alone and with enhanced codes."""
    named = {row.enhanced for row in table()} - {"*"}
    for code in range(200, 600):
        for enhanced in ("", f"{code // 100}.0.0", *(each for each in named if each[0] == str(code)[0])):
            yield Reply(code, "", enhanced)


EVERYTHING = [(phase, met) for phase in Phase for met in (*Silence, *replies())]


def of(phase: Phase, met: Reply | Silence) -> Outcome:
    """The outcome alone."""
    return outcome(Answer(phase, met)).outcome


@pytest.mark.parametrize(
    ("phase", "met", "expected"),
    [
        (Phase.RCPT, Reply(250), Outcome.ACCEPTED),
        (Phase.RCPT, Reply(251), Outcome.ACCEPTED),
        (Phase.RCPT, Reply(451, "", "4.7.1"), Outcome.DEFERRED),
        (Phase.RCPT, Reply(550, "", "5.1.1"), Outcome.REFUSED),
        (Phase.RCPT, Reply(452, "", "4.5.3"), Outcome.DEFERRED),
        (Phase.RCPT, Reply(552, "", "5.5.3"), Outcome.DEFERRED),
        (Phase.RCPT, Reply(552, "", "5.2.2"), Outcome.REFUSED),
        (Phase.MAIL, Reply(452, "", "4.3.1"), Outcome.PAUSE_RELAY),
        (Phase.MAIL, Reply(452), Outcome.DEFERRED),
        (Phase.MAIL, Reply(503), Outcome.DEFERRED),
        (Phase.AUTH, Reply(535, "", "5.7.8"), Outcome.PAUSE_RELAY),
        (Phase.STARTTLS, Silence.NOT_OFFERED, Outcome.PAUSE_RELAY),
        (Phase.BODY, Reply(552, "", "5.3.4"), Outcome.REFUSED),
        (Phase.CONTENT, Reply(250), Outcome.ACCEPTED),
        (Phase.CONTENT, Reply(554), Outcome.REFUSED),
        (Phase.CONTENT, Silence.TIMEOUT, Outcome.UNCERTAIN),
        (Phase.CONTENT, Silence.MALFORMED, Outcome.UNCERTAIN),
        (Phase.DATA, Silence.CONNECTION_LOST, Outcome.DEFERRED),
        (Phase.IDLE, Reply(421), Outcome.RECONNECT),
    ],
)
def test_what_is_met_most_often(phase: Phase, met: Reply | Silence, expected: Outcome) -> None:
    assert of(phase, met) is expected


def test_everything_has_an_outcome() -> None:
    assert {type(of(phase, met)) for phase, met in EVERYTHING} == {Outcome}


def test_only_the_end_of_the_content_can_be_uncertain() -> None:
    assert {phase for phase, met in EVERYTHING if of(phase, met) is Outcome.UNCERTAIN} == {Phase.CONTENT}


def test_only_an_answer_of_5yz_or_a_lacking_extension_refuses() -> None:
    refusals = {met for phase, met in EVERYTHING if of(phase, met) is Outcome.REFUSED}
    assert all(met is Silence.NOT_OFFERED or (isinstance(met, Reply) and met.code >= 500) for met in refusals)


def test_before_mail_nothing_is_the_letters_fault() -> None:
    early = (Phase.CONNECT, Phase.EHLO, Phase.STARTTLS, Phase.AUTH)
    found = {of(phase, met) for phase, met in EVERYTHING if phase in early}
    assert found == {Outcome.ACCEPTED, Outcome.PAUSE_RELAY}


def test_a_positive_reply_that_nobody_waits_for_accepts_nothing() -> None:
    assert of(Phase.DATA, Reply(250)) is Outcome.DEFERRED
    assert of(Phase.MAIL, Reply(354)) is Outcome.DEFERRED
    assert of(Phase.RCPT, Reply(220)) is Outcome.DEFERRED
    assert of(Phase.CONTENT, Reply(354)) is Outcome.UNCERTAIN
    assert of(Phase.CONNECT, Reply(250)) is Outcome.PAUSE_RELAY


def test_a_letter_is_accepted_only_by_2yz_and_354_where_they_belong() -> None:
    accepted = {(phase, met.code) for phase, met in EVERYTHING if isinstance(met, Reply) and is_accepted(phase, met)}
    twenty_fives = set(range(250, 260))
    assert {code for phase, code in accepted if phase is Phase.CONTENT} == twenty_fives
    assert {code for phase, code in accepted if phase is Phase.RCPT} == twenty_fives
    assert {code for phase, code in accepted if phase is Phase.DATA} == {354}


def is_accepted(phase: Phase, met: Reply) -> bool:
    return of(phase, met) is Outcome.ACCEPTED


def test_what_concerns_a_recipient_is_answered_at_rcpt() -> None:
    assert {row.phase for row in table() if row.scope is Scope.RECIPIENT} == {"rcpt"}


def test_an_operator_is_alerted_only_of_a_relay_that_is_paused() -> None:
    assert {row.outcome for row in table() if row.alert} == {Outcome.PAUSE_RELAY}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(Phase.RCPT, Reply(550, "no such mailbox", "5.1.1")), "550 5.1.1 no such mailbox"),
        (Answer(Phase.CONNECT, Silence.TIMEOUT), "timeout at connect"),
        (Answer(Phase.MAIL, Silence.NOT_OFFERED, "SMTPUTF8"), "not-offered at mail: SMTPUTF8"),
    ],
)
def test_an_answer_reads_as_what_was_said_or_what_happened(answer: Answer, text: str) -> None:
    assert str(answer) == text


def test_of_a_program_only_its_success_accepts_and_only_what_it_says_of_the_letter_refuses() -> None:
    found = {status: of(Phase.PROGRAM, Reply(status)) for status in range(256)}
    assert [status for status in found if found[status] is Outcome.ACCEPTED] == [os.EX_OK]
    refusals = [os.EX_DATAERR, os.EX_NOUSER, os.EX_NOHOST]
    assert [status for status in found if found[status] is Outcome.REFUSED] == refusals
    assert Outcome.UNCERTAIN not in found.values()
