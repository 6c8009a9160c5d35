"""Every row of the table of replies, played by a relay: the ledger then tells of the letter what the row says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme

from house import Desk, desk, timeouts
from postroom import LetterState, LetterStatus, RecipientState
from postroom.reply import Reply
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Reaction,
    Script,
    ScriptedRelay,
    both,
    close,
    deaf,
    only_to,
    say,
    scripted_relay,
    silent,
)
from postroom_worker.dev.server import free_port
from postroom_worker.outcome import Answer, Outcome, Phase, Row, Scope, Silence, outcome, table

ANN, BEN = "ann@example.com", "ben@example.com"
BIG = "x" * 70 + "\n"

Met = Reply | Silence


def met(row: Row, phase: Phase) -> Met | None:
    """Return something that this row, and no earlier one, fits in a phase."""
    if row.code in list(Silence):
        silence = Silence(row.code)
        return silence if outcome(Answer(phase, silence)) == row else None
    for code in (*range(200, 500), *range(550, 560), *range(500, 550)):  # 500, 502 and 504 to EHLO ask for HELO
        kind = str(code)[0]
        for enhanced in {"", f"{kind}.9.9", row.enhanced.replace("x", "9")} - {"*"}:
            if outcome(Answer(phase, Reply(code, "told so", enhanced))) == row:
                return Reply(code, "told so", enhanced)
    return None


def plays(row: Row) -> Iterator[tuple[Phase, Met]]:
    """Yield where, and by what, a row can be played."""
    for phase in Phase:
        if row.phase in (phase, "*"):
            found = met(row, phase)
            if found is not None and is_possible(phase, found):
                yield phase, found


def is_possible(phase: Phase, found: Met) -> bool:
    """False for what no relay can do."""
    if phase is Phase.PROGRAM:
        return False
    if found is Silence.NOT_OFFERED:
        return phase in (Phase.STARTTLS, Phase.AUTH, Phase.MAIL, Phase.RCPT)
    if found is Silence.NO_CONNECTION:
        return phase is Phase.CONNECT
    if found is Silence.TLS_ERROR:
        return phase is Phase.STARTTLS
    return found not in (Silence.NO_TOKEN, Silence.NO_HOST)


ROWS = [
    pytest.param(row, phase, found, id=f"{row.phase}-{row.code}-{row.enhanced}")
    for row in table()
    for phase, found in list(plays(row))[:1]
    if isinstance(found, Reply)
]
SILENCES = [
    pytest.param(outcome(Answer(phase, silence)), phase, silence, id=f"{phase}-{silence}")
    for phase in Phase
    for silence in Silence
    if is_possible(phase, silence)
]


def test_every_row_of_the_table_can_be_met() -> None:
    unmet = [row for row in table() if row.phase != Phase.PROGRAM and not list(plays(row))]
    nobodys = [Silence.NO_HOST, Silence.NO_TOKEN]
    assert [row.code for row in unmet] == nobodys, "which are no relay's doing: see test_deadlines and test_auth"


@pytest.mark.parametrize(("row", "phase", "found"), ROWS)
def test_a_letter_fares_as_its_row_says(
    row: Row, phase: Phase, found: Met, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(row, phase, found, redis_url, caplog)


@pytest.mark.parametrize(("row", "phase", "found"), SILENCES)
def test_a_letter_fares_as_its_row_says_when_no_reply_comes(
    row: Row, phase: Phase, found: Silence, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(row, phase, found, redis_url, caplog)


def check(row: Row, phase: Phase, found: Met, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Play a row with a letter to Ann and Ben, and look at both accounts."""
    caplog.set_level(logging.WARNING, "postroom")
    with playing(phase, found, redis_url) as (here, relay):
        if phase is Phase.IDLE:
            here.deliver(here.accept("first@example.com"))
        receipt = here.accept(**letter(phase, found))
        status = here.deliver(receipt)
        expect(row, status)
        if row.outcome is not Outcome.UNCERTAIN:
            assert_both_ends_agree(status, relay)
        pause = here.standing()
    assert (pause.state != "closed") == (row.outcome is Outcome.PAUSE_RELAY)
    has_alerted = any(record.levelno == logging.ERROR for record in caplog.records)
    assert has_alerted == row.alert


def letter(phase: Phase, found: Met) -> dict[str, Any]:
    if found is Silence.NOT_OFFERED and phase is Phase.RCPT:
        return {"to": BEN, "bcc": "änn@example.com"}
    # So large that the relay can answer before its end.
    return {"to": [ANN, BEN], "message": BIG * 100_000 if phase is Phase.BODY else "hi"}


@contextmanager
def playing(phase: Phase, found: Met, redis_url: str) -> Iterator[tuple[Desk, ScriptedRelay]]:
    """Set up a relay that does this in that phase, and a desk that works with it."""
    offers = list(OFFERS)
    if phase is Phase.AUTH and found is not Silence.NOT_OFFERED:
        offers.append("AUTH PLAIN")
    if phase is Phase.STARTTLS and found is not Silence.NOT_OFFERED:
        offers.append("STARTTLS")
    if phase is Phase.MAIL and found is Silence.NOT_OFFERED:
        offers = ["SIZE 100"]
    if phase is Phase.RCPT and found is Silence.NOT_OFFERED:
        offers.remove("SMTPUTF8")
    authority = trustme.CA()
    settings = {"POSTROOM_LETTER_MAX": "20000000"}
    if found is Silence.TIMEOUT:
        # One of EHLO's kind has to leave EHLO its time.
        settings |= timeouts(2 if phase is Phase.IDLE else 0.5, phase)
    with (
        scripted_relay(*scripts(phase, found), offers=offers, credentials=("us", "secret")) as relay,
        authority.cert_pem.tempfile() as ca_file,
    ):
        if phase is Phase.STARTTLS:
            if found is not Silence.TLS_ERROR:
                authority.issue_cert("127.0.0.1").configure_cert(relay.use_tls())
                settings["POSTROOM_CA_FILE"] = ca_file
            else:
                trustme.CA().issue_cert("127.0.0.1").configure_cert(relay.use_tls())
        scheme = "smtp+starttls" if phase is Phase.STARTTLS else "smtp"
        port = free_port() if found is Silence.NO_CONNECTION else relay.port
        user = "us:secret@" if phase is Phase.AUTH else ""
        with desk(redis_url, f"{scheme}://{user}127.0.0.1:{port}", **settings) as here:
            yield here, relay


def scripts(phase: Phase, found: Met) -> list[Script]:
    if found in (Silence.NOT_OFFERED, Silence.NO_CONNECTION, Silence.TLS_ERROR):
        return []
    if phase is Phase.IDLE:
        # A refused letter is followed by RSET: its answer is that of an idle session.
        return [{"mail": [say("550 5.1.0 not you"), say("250 2.1.0 ok")], "rset": reaction(found)}, {}]
    if phase is Phase.RCPT and outcome(Answer(phase, found)).scope is Scope.RECIPIENT:
        return [{phase: only_to(ANN, reaction(found))}]
    if phase is Phase.BODY:
        if found is Silence.TIMEOUT:
            return [{phase: deaf}]
        return [{phase: both(reaction(found), close)}]
    return [{phase: reaction(found)}]


def reaction(found: Met) -> Reaction:
    if isinstance(found, Reply):
        return say(str(found))
    return {Silence.CONNECTION_LOST: close, Silence.TIMEOUT: silent, Silence.MALFORMED: say("what?")}[found]


def expect(row: Row, status: LetterStatus) -> None:
    """Compare what the ledger tells of a letter with what the row says."""
    first, second = sorted(status.recipients.values(), key=lambda each: each.state is RecipientState.ACCEPTED)
    match row.outcome:
        case Outcome.ACCEPTED | Outcome.RECONNECT:
            assert status.state is LetterState.SENT
            assert first.attempts == 1
        case Outcome.DEFERRED:
            assert status.state is LetterState.DEFERRED
            assert (first.state, first.attempts) == (RecipientState.DEFERRED, 1)
        case Outcome.REFUSED:
            assert status.state in (LetterState.FAILED, LetterState.PARTIAL)
            assert (first.state, first.attempts) == (RecipientState.REFUSED, 1)
        case Outcome.UNCERTAIN:
            assert status.state is LetterState.DEFERRED
            assert (first.state, first.attempts) == (RecipientState.DEFERRED, 1)
            assert first.reply.startswith("uncertain")
        case Outcome.PAUSE_RELAY:
            assert status.state is LetterState.DEFERRED
            assert status.attempts == first.attempts == second.attempts == 0
    if row.scope is Scope.RECIPIENT:
        assert second.state is RecipientState.ACCEPTED
    else:
        assert second.state is first.state


def assert_both_ends_agree(status: LetterStatus, relay: ScriptedRelay) -> None:
    """The relay accepted those once whom the ledger calls accepted, and nobody else."""
    accepted = [address for address, each in status.recipients.items() if each.state is RecipientState.ACCEPTED]
    assert {
        address: times for address, times in relay.accepted.items() if address != "first@example.com"
    } == dict.fromkeys(accepted, 1)
