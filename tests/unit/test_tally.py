"""What many letters have in common: reasons in words, codes, domains, ages."""

from __future__ import annotations

from postroom import LetterState, LetterStatus, RecipientState, RecipientStatus
from postroom.cli.tally import AGES_MIN, Tally

NOW_S = 1_785_000_000.0


def letter(age_min: float, *recipients: tuple[str, RecipientState, str], reason: str = "") -> LetterStatus:
    return LetterStatus(
        id="L",
        state=LetterState.HELD if reason else LetterState.DEFERRED,
        recipients={who: RecipientStatus(state, reply, 1) for who, state, reply in recipients},
        attempts=1,
        next_attempt_at=None,
        reason=reason,
        accepted_at=NOW_S - age_min * 60,
        subject="",
        sender="",
    )


def test_who_has_it_is_not_counted_and_a_letter_counts_once_for_each_reason() -> None:
    tally = Tally()
    deferred, accepted = RecipientState.DEFERRED, RecipientState.ACCEPTED
    busy = "421 4.7.0 busy"
    recipients = [
        ("ann@A.example", deferred, busy),
        ("ben@a.example", deferred, busy),
        ("c@b.example", accepted, "250"),
    ]
    tally.add([letter(3, *recipients), letter(90, ("d@b.example", deferred, ""))], NOW_S)
    assert tally.reasons == {(LetterState.DEFERRED, busy): 1, (LetterState.DEFERRED, "not tried yet"): 1}
    assert tally.codes == {"421 4.7.0": 2}
    assert tally.domains == {"a.example": 2, "b.example": 1}
    assert tally.shape == {"a.example": {0: 2}, "b.example": {AGES_MIN.index(160): 1}}


def test_a_held_letter_tells_why_it_is_held() -> None:
    tally = Tally()
    tally.add([letter(0, ("ann@a.example", RecipientState.DEFERRED, "451 x"), reason="the lawyers look")], NOW_S)
    assert tally.reasons == {(LetterState.HELD, "the lawyers look"): 1}


def test_the_oldest_letters_stand_in_the_last_column() -> None:
    tally = Tally()
    tally.add([letter(age, ("a@b.c", RecipientState.PENDING, "")) for age in (0, 4.99, 5, 1279, 1280, 9999)], NOW_S)
    assert tally.shape["b.c"] == {0: 2, 1: 1, 8: 1, 9: 2}
