"""The accounts of a chaos run: they find what is lost, and what is doubled, but where a window explains it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroom import LetterState, RecipientState, RecipientStatus
from postroom.ledger import Account, LetterStatus
from postroom_worker.dev.chaos.accounts import Accounts, Row, windows_of

SENT = Row(
    letter_id="letter",
    address="ann@example.com",
    letter=LetterState.SENT,
    policy="resend",
    status=RecipientStatus(RecipientState.ACCEPTED, "250 2.0.0 taken", 1),
    windows=0,
    letter_windows=0,
    copies=1,
    copies_max=4,
    is_refused=False,
    was_cancelled=False,
)
HELD = replace(SENT, letter=LetterState.HELD, status=RecipientStatus(RecipientState.PENDING, "", 1))
REFUSED = replace(SENT, status=RecipientStatus(RecipientState.REFUSED, "550 5.1.1 nobody", 1), copies=0)
CANCELLED = replace(SENT, status=RecipientStatus(RecipientState.CANCELLED, "", 0), copies=0)
AGREED = Accounts({"letter"}, {"letter": LetterState.SENT}, {"letter": [LetterState.SENT]}, [SENT], [])


@pytest.mark.parametrize(
    "row",
    [
        SENT,
        replace(SENT, copies=2, windows=1),
        replace(HELD, copies=1, windows=1, letter_windows=1),
        replace(HELD, copies=0, windows=1, letter_windows=1),
        replace(REFUSED, is_refused=True),
        replace(CANCELLED, was_cancelled=True),
    ],
)
def test_what_the_ledger_explains_is_no_problem(row: Row) -> None:
    assert list(row.problems()) == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (replace(SENT, copies=0), "LOST: the ledger calls it accepted"),
        (REFUSED, "LOST: the ledger calls it refused"),
        (replace(SENT, copies=2), "DOUBLED: 2 copies, in 0 windows"),
        (replace(SENT, copies=3, windows=1), "DOUBLED: 3 copies, in 1 windows"),
        (replace(SENT, copies=2, windows=1, policy="hold"), "DOUBLED under the policy hold"),
        (replace(SENT, copies=5, windows=4), "5 copies, and 4 are the bound"),
        (replace(SENT, status=RecipientStatus(RecipientState.DEFERRED, "451 later", 1), copies=0), "it is deferred"),
        (replace(HELD, copies=0), "its letter is held, and had no window"),
        (CANCELLED, "it is cancelled"),
    ],
)
def test_what_nothing_explains_is_told(row: Row, problem: str) -> None:
    [found] = row.problems()
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("accounts", "problem"),
    [
        (replace(AGREED, receipts={"letter", "gone"}), "gone: LOST: a caller has its receipt"),
        (replace(AGREED, receipts=set()), "letter: nobody has a receipt"),
        (replace(AGREED, strangers=[("other", "ben@example.com")]), "other: never handed in"),
        (
            replace(AGREED, places={"letter": [LetterState.SENT, LetterState.QUEUED]}),
            "letter: sent, and in the indexes sent, queued",
        ),
        (
            replace(AGREED, letters={"letter": LetterState.QUEUED}, places={"letter": [LetterState.QUEUED]}),
            "letter: queued, and in the indexes queued",
        ),
    ],
)
def test_letters_on_which_the_accounts_differ_are_told(accounts: Accounts, problem: str) -> None:
    assert AGREED.problems() == []
    [found] = accounts.problems()
    assert found.startswith(problem)


def test_a_window_is_of_those_who_were_open_then() -> None:
    recipients = {each: RecipientStatus(RecipientState.ACCEPTED, "", 1) for each in ("ann", "ben")}
    status = LetterStatus("letter", LetterState.SENT, recipients, 3, None, "", 0, "hi", "bob@example.org")

    def attempt(event: str, **states: str) -> dict[str, object]:
        return {
            "event": event,
            "recipients": [
                {"address": address, "state": state, "reply": "uncertain" if state == "pending" else "250 taken"}
                for address, state in states.items()
            ],
        }

    history = (
        {"event": "uncertain"},
        attempt("attempt", ann="accepted", ben="pending"),
        {"event": "uncertain"},
        attempt("testified", ben="accepted"),
        {"event": "uncertain"},
    )
    windows, of_letter = windows_of(Account(status, history, 0))
    assert (windows, of_letter) == ({"ann": 1, "ben": 3}, 3)
