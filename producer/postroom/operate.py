"""What operators, and callers, can do to a letter: retry, flush, cancel, hold, release, expire, purge.

Each act is decided on the letter as it was seen and done only if it is still so; if it changed, it is looked at again.
All take the same arguments:

    ledger      where the letter is recorded
    letter_id   which
    by, reason  who acts, and why; written into its history
    only_in     act only while the letter is in this state: for many letters that were chosen by it
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from postroom.errors import TooLate
from postroom.ledger import Bell, Ledger, Recipient
from postroom.ledger.connection import FOREVER_MS
from postroom.ledger.record import Recipients, expired
from postroom.ledger.views import begins_in_ms, bell, recipients
from postroom.states import FINAL, LetterState, RecipientState, letter_state

log = logging.getLogger("postroom")

RETRIABLE = frozenset(
    {LetterState.FAILED, LetterState.PARTIAL, LetterState.CANCELLED, LetterState.DEFERRED, LetterState.HELD}
)
CANCELLABLE = frozenset({LetterState.SCHEDULED, LetterState.QUEUED, LetterState.DEFERRED, LetterState.HELD})
HOLDABLE = frozenset({LetterState.SCHEDULED, LetterState.QUEUED, LetterState.DEFERRED})
EXPIRABLE = CANCELLABLE - {LetterState.SCHEDULED}
PURGEABLE = FINAL - {LetterState.SENT}

_LOOKS = 10


@dataclass(frozen=True, slots=True)
class _Act:
    """What is to become of the letter."""

    state: LetterState
    recipients: Recipients
    event: str
    wait_ms: int | None = None
    """Until the next thing happens to it, where that does not follow from its state."""
    anew: bool = False
    via: str | None = None
    """The relay to use from now on, empty for any; None for the one as before."""


def retry(
    ledger: Ledger,
    letter_id: str,
    *,
    by: str = "",
    reason: str = "",
    only_in: LetterState | None = None,
    relay: str = "",
) -> Bell:
    """Send a letter again, now, to the recipients that did not get it, and only to those.

    Args:
        ledger: where the letter is recorded.
        letter_id: which.
        by: who acts.
        reason: why.
        only_in: act only while the letter is in this state.
        relay: send it through this one, whatever the letter says; empty for the one that it names, or any.

    Returns:
        the bell to ring.

    Raises:
        TooLate: everybody got it, or it is on its way.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in RETRIABLE or all(each.state is RecipientState.ACCEPTED for each in seen):
            raise TooLate(f"letter {letter_id} is {state}: there is nobody to send it to again")
        again = tuple(
            each if each.state is RecipientState.ACCEPTED else _with_state(each, RecipientState.PENDING)
            for each in seen
        )
        return _Act(LetterState.QUEUED, again, "retried", anew=True, via=relay)

    _do(ledger, letter_id, decide, by=by, reason=reason, only_in=only_in)
    return bell(ledger, letter_id)


def flush(
    ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "", only_in: LetterState | None = None
) -> Bell:
    """Try a deferred letter now, as if it were due: who was refused stays refused, and its end is no later.

    Returns:
        the bell to ring.

    Raises:
        TooLate: it is not deferred.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state is not LetterState.DEFERRED:
            raise TooLate(f"letter {letter_id} is {state}, not deferred: no attempt of it is to come")
        return _Act(LetterState.QUEUED, seen, "flushed")

    _do(ledger, letter_id, decide, by=by, reason=reason, only_in=only_in)
    return bell(ledger, letter_id)


def cancel(
    ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "", only_in: LetterState | None = None
) -> None:
    """Cancel a letter for every recipient not served yet.

    Raises:
        TooLate: it is being sent, or all of it is decided.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in CANCELLABLE:
            raise TooLate(f"letter {letter_id} is {state}: it is too late to cancel it")
        left = tuple(_with_state(each, RecipientState.CANCELLED) if each.state.is_open else each for each in seen)
        final = letter_state([each.state for each in left])
        return _Act(LetterState.CANCELLED if final is LetterState.FAILED else final, left, "cancelled")

    _do(ledger, letter_id, decide, by=by, reason=reason, only_in=only_in)


def hold(ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "", only_in: LetterState | None = None) -> None:
    """Hold a letter until it is released, retried or cancelled.

    Raises:
        TooLate: it is being sent, or all of it is decided.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in HOLDABLE:
            raise TooLate(f"letter {letter_id} is {state}: it cannot be held")
        return _Act(LetterState.HELD, seen, "held")

    _do(ledger, letter_id, decide, by=by, reason=reason, only_in=only_in)


def release(
    ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "", only_in: LetterState | None = None
) -> Bell | None:
    """Let a held letter go on, to the recipients that it still has to reach.

    Returns:
        the bell to ring; or None, when its time has not come and it waits for it again.

    Raises:
        TooLate: it is not held.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    wait_ms = begins_in_ms(ledger, letter_id)

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state is not LetterState.HELD:
            raise TooLate(f"letter {letter_id} is {state}, not held: there is nothing to release")
        if wait_ms > 0:
            return _Act(LetterState.SCHEDULED, seen, "released", wait_ms)
        return _Act(LetterState.QUEUED, seen, "released", anew=True)

    _do(ledger, letter_id, decide, by=by, reason=reason, only_in=only_in)
    return None if wait_ms > 0 else bell(ledger, letter_id)


def expire(
    ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "", only_in: LetterState | None = None
) -> None:
    """Give a letter up now, for every recipient not served yet: as if it had been deferred for too long.

    Raises:
        TooLate: it is being sent, or all of it is decided, or its time has not come.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """

    def decide(state: LetterState, seen: Recipients) -> _Act:
        if state not in EXPIRABLE:
            raise TooLate(f"letter {letter_id} is {state}: it cannot be given up")
        left = tuple(expired(seen, "given up by an operator"))
        return _Act(letter_state([each.state for each in left]), left, "given_up")

    _do(ledger, letter_id, decide, by=by, reason=reason, only_in=only_in)


def purge(
    ledger: Ledger, letter_id: str, *, by: str = "", reason: str = "", only_in: LetterState | None = None
) -> None:
    """Remove a letter that is over, account and all, before its retention is; the log and the events tell of it.

    Raises:
        TooLate: it was sent, or is not over.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    state, _ = recipients(ledger, letter_id)
    _check(letter_id, state, only_in)
    if state not in PURGEABLE:
        raise TooLate(f"letter {letter_id} is {state}: it cannot be purged")
    event: dict[str, object] = {"event": "purged", "by": by, "why": reason}
    if not ledger.forget(letter_id, state, early_ms=FOREVER_MS, event=event):
        raise TooLate(f"letter {letter_id} was {state}, and is no longer: look at it, and try again")
    log.info("letter %s (%s) was purged by %s: %s", letter_id, state, by or "?", reason or "no reason given")


def _do(
    ledger: Ledger,
    letter_id: str,
    decide: Callable[[LetterState, Recipients], _Act],
    *,
    by: str,
    reason: str,
    only_in: LetterState | None,
) -> None:
    for _ in range(_LOOKS):
        state, seen = recipients(ledger, letter_id)
        _check(letter_id, state, only_in)
        act = decide(state, seen)
        event: dict[str, object] = {"event": act.event, "by": by, "why": reason}
        answer = ledger.operate(
            letter_id,
            seen=state,
            seen_recipients=seen,
            state=act.state,
            recipients=act.recipients,
            wait_ms=ledger.times.wait_ms(act.state) if act.wait_ms is None else act.wait_ms,
            event=event | ({"relay": act.via} if act.via else {}),
            reason=reason,
            anew=act.anew,
            via=act.via,
        )
        if answer == "done":
            return
    raise TooLate(f"letter {letter_id} changes faster than it can be operated on; look at it and try again")


def _check(letter_id: str, state: LetterState, only_in: LetterState | None) -> None:
    if only_in is not None and state is not only_in:
        raise TooLate(f"letter {letter_id} is {state} now, no longer {only_in}")


def _with_state(recipient: Recipient, state: RecipientState) -> Recipient:
    return Recipient(recipient.address, state, recipient.reply, recipient.attempts)
