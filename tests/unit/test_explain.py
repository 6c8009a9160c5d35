"""Why a letter is where it is, and what happens next: of each state, in sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroom import LetterState, LetterStatus, RecipientState, RecipientStatus
from postroom.cli.explain import Seen, explanation
from postroom.cli.output import moment
from postroom.ledger.relays import Standing
from postroom.ledger.suspensions import Suspension
from postroom.ledger.views import Circumstances

NOW_MS = 1_785_000_000_000
HOUR_MS = 3_600_000
LATER = f"{moment(NOW_MS / 1000 + 3600)}, in 1h"


def seen(state: LetterState, *, workers: int = 2, **about: object) -> Seen:
    recipients = {
        "ann@example.com": RecipientStatus(RecipientState.ACCEPTED, "250 OK", 1),
        "ben@example.com": RecipientStatus(RecipientState.DEFERRED, "451 4.7.1 Greylisted", 1),
    }
    letter = LetterStatus(
        id="L1",
        state=state,
        recipients=recipients,
        attempts=1,
        next_attempt_at=None,
        reason="the lawyers look" if state is LetterState.HELD else "",
        accepted_at=0,
        subject="",
        sender="",
    )
    facts = Circumstances(
        due_ms=NOW_MS + HOUR_MS,
        is_kept=False,
        queue="postroom",
        worker="host:1",
        in_window=False,
        on_uncertain="resend",
        expires_ms=0,
        give_up_ms=NOW_MS + 24 * HOUR_MS,
    )
    return Seen(letter=letter, about=replace(facts, **about), workers=workers, now_ms=NOW_MS)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", list(LetterState))
def test_every_state_tells_what_the_letter_waits_for_and_what_is_next(state: LetterState) -> None:
    found = explanation(seen(state))
    assert found["state"].startswith(f"{state}: ")
    assert found["waits for"]
    assert found["next"]


def test_a_deferred_letter_tells_why_when_for_how_many_and_its_end() -> None:
    assert explanation(seen(LetterState.DEFERRED)) == {
        "state": "deferred: somebody could not be served yet; it is tried again when it is due",
        "why": "451 4.7.1 Greylisted",
        "waits for": f"its next attempt, {LATER}",
        "next": "a worker puts it on the queue postroom then, and it is tried for 1 recipient: attempt 2",
        "at last": f"it is given up {moment(NOW_MS / 1000 + 86_400)}, in 1d",
        "you may": "flush it (try it now), hold it, cancel it, expire it (give it up now)",
    }


def test_what_comes_first_ends_a_letter() -> None:
    soon = explanation(seen(LetterState.DEFERRED, expires_ms=NOW_MS + HOUR_MS))
    assert soon["at last"] == f"it is not sent after {LATER} (expires_in)"
    late = explanation(seen(LetterState.DEFERRED, expires_ms=NOW_MS + 48 * HOUR_MS))
    assert late["at last"].startswith("it is given up")


def test_a_letter_in_the_queue_tells_whether_anybody_is_there_to_take_it() -> None:
    assert explanation(seen(LetterState.QUEUED))["waits for"] == "a worker of the queue postroom; 2 workers are here"
    assert "; no worker is here" in explanation(seen(LetterState.QUEUED, workers=0))["waits for"]
    assert "; 1 worker is here" in explanation(seen(LetterState.QUEUED, workers=1))["waits for"]


def test_a_letter_that_is_being_sent_tells_what_a_crash_would_lead_to() -> None:
    assert LATER in explanation(seen(LetterState.SENDING))["next"]
    assert "sent again" in explanation(seen(LetterState.SENDING, in_window=True))["next"]
    assert "is held" in explanation(seen(LetterState.SENDING, in_window=True, on_uncertain="hold"))["next"]


def test_a_held_letter_tells_why_and_when_it_is_worthless() -> None:
    found = explanation(seen(LetterState.HELD))
    assert found["why"] == "the lawyers look"
    assert "at last" not in found
    assert "at last" in explanation(seen(LetterState.HELD, expires_ms=NOW_MS + HOUR_MS))


def test_a_letter_that_is_over_tells_how_long_its_account_is_kept() -> None:
    assert explanation(seen(LetterState.SENT))["next"] == f"its account is forgotten {LATER}"
    failed = explanation(seen(LetterState.FAILED, is_kept=True))
    assert failed["next"] == "it is kept until it is retried or purged"
    assert failed["you may"] == "retry it, to 1 recipient who did not get it; purge it"
    worthless = explanation(seen(LetterState.FAILED, expires_ms=NOW_MS - HOUR_MS))
    assert worthless["you may"] == "purge it; retried, it would be too late again (expires_in)"


def test_what_stands_in_a_letters_way_is_told_with_what_ends_it() -> None:
    waiting = replace(seen(LetterState.DEFERRED).letter, reason="tag spring is suspended by ops: wrong prices")
    standings = {
        "first": Standing("open", 40_000, "421 busy", since_ms=NOW_MS - HOUR_MS),
        "second": Standing("closed", sessions=3, rates={"": 2.0, "example.com": 0.5}),
    }
    suspensions = [
        Suspension(kind="tag", name="spring", by="ops", why="wrong prices"),
        Suspension(kind="domain", name="example.com", by="ops", until_ms=NOW_MS + HOUR_MS),
    ]
    found = explanation(
        replace(seen(LetterState.DEFERRED), letter=waiting, standings=standings, suspensions=suspensions)
    )
    assert found["suspended"].split("\n") == [
        "tag spring is suspended by ops: wrong prices; until it is resumed: postroom resume --tag spring",
        f"domain example.com is suspended by ops; ends {LATER}: postroom resume --domain example.com",
    ]
    assert found["relay"] == (
        f"first is left alone for 40s more, since {moment(NOW_MS / 1000 - 3600)}: 421 busy; "
        "second serves, 3 sessions; slowed to 2.0 letters/s, 0.5 letters/s at example.com"
    )
    assert found["why"] == waiting.reason
    assert found["next"].endswith("it waits on, unless that was resumed; when it is, it goes out at once")
    assert found["waits for"] == f"the end of that; it is looked at again {LATER}"


def test_the_relay_that_was_chosen_for_a_letter_is_told() -> None:
    found = explanation(
        replace(seen(LetterState.QUEUED), chosen_relay="second", standings={"second": Standing("closed")})
    )
    assert found["relay"] == "it goes through second; second serves, 0 sessions"
