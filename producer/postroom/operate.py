"""What operators, and callers, can do to a letter: send it again, cancel it, hold it, release it.

Each act is decided on the letter as it was seen and done only if it is still so; if it changed, it is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from postroom.errors import TooLate, UnknownLetter
from postroom.ledger import Bell, Ledger, Recipient
from postroom.ledger.record import Recipients
from postroom.ledger.views import bell, recipients
from postroom.states import LetterState, RecipientState, letter_state

_LOOKS = 10

_RETRIABLE = frozenset(
    {LetterState.FAILED, LetterState.PARTIAL, LetterState.CANCELLED, LetterState.DEFERRED, LetterState.HELD}
)
_CANCELLABLE = frozenset({LetterState.SCHEDULED, LetterState.QUEUED, LetterState.DEFERRED, LetterState.HELD})
_HOLDABLE = frozenset({LetterState.SCHEDULED, LetterState.QUEUED, LetterState.DEFERRED})


@dataclass(frozen=True, slots=True)
class _Act:
    """What is to become of the letter."""

    state: LetterState
    recipients: Recipients
    event: str
    anew: bool = False


def retry(ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "") -> Bell:
    """Send a letter again, now, to the recipients that did not get it, and only to those.

    Args:
        ledger: where it is recorded.
        letter_id: which.
        by: who asks; written into its history.
        reason: why; written into its history.

    Returns:
        the bell to ring.

    Raises:
        TooLate: everybody got it, or it is on its way.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in _RETRIABLE or all(each.state is RecipientState.ACCEPTED for each in seen):
            raise TooLate(f"letter {letter_id} is {state}: there is nobody to send it to again")
        again = tuple(
            each if each.state is RecipientState.ACCEPTED else _with_state(each, RecipientState.PENDING) for each in seen
        )
        return _Act(LetterState.QUEUED, again, "retried", anew=True)

    _do(ledger, letter_id, decide, by=by, reason=reason)
    return bell(ledger, letter_id)


def cancel(ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "") -> None:
    """Cancel a letter for every recipient not served yet.

    Raises:
        TooLate: it is being sent, or all of it is decided.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in _CANCELLABLE:
            raise TooLate(f"letter {letter_id} is {state}: it is too late to cancel it")
        left = tuple(_with_state(each, RecipientState.CANCELLED) if each.state.is_open else each for each in seen)
        final = letter_state([each.state for each in left])
        return _Act(LetterState.CANCELLED if final is LetterState.FAILED else final, left, "cancelled")

    _do(ledger, letter_id, decide, by=by, reason=reason)


def hold(ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "") -> None:
    """Hold a letter until it is released, retried or cancelled.

    Raises:
        TooLate: it is being sent, or all of it is decided.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in _HOLDABLE:
            raise TooLate(f"letter {letter_id} is {state}: it cannot be held")
        return _Act(LetterState.HELD, seen, "held")

    _do(ledger, letter_id, decide, by=by, reason=reason)


def _do(
    ledger: Ledger, letter_id: str, decide: Callable[[LetterState, Recipients], _Act], *, by: str, reason: str
) -> None:
    for _ in range(_LOOKS):
        state, seen = recipients(ledger, letter_id)
        act = decide(state, seen)
        answer = ledger.operate(
            letter_id,
            seen=state,
            seen_recipients=seen,
            state=act.state,
            recipients=act.recipients,
            wait_ms=ledger.times.wait_ms(act.state),
            event={"event": act.event, "by": by, "why": reason},
            reason=reason,
            anew=act.anew,
        )
        if answer == "done":
            return
        if answer == "unknown":
            raise UnknownLetter(f"there is no letter {letter_id} in the ledger")
    raise TooLate(f"letter {letter_id} changes faster than it can be operated on; look at it and try again")


def _with_state(recipient: Recipient, state: RecipientState) -> Recipient:
    return Recipient(recipient.address, state, recipient.reply, recipient.attempts)

