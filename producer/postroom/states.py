"""The states of letters and recipients, and the edges between them: the data that scripts, docs and tests agree on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType


class LetterState(StrEnum):
    """Where a letter stands."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    HELD = "held"
    SENT = "sent"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """True when nothing more happens unless an operator acts."""
        return self in FINAL

    @property
    def is_settled(self) -> bool:
        """True when the letter is final, or held until an operator acts."""
        return self in FINAL or self is LetterState.HELD


class RecipientState(StrEnum):
    """Where one recipient of a letter stands."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """True while the recipient is still to be served."""
        return self in (RecipientState.PENDING, RecipientState.DEFERRED)


FINAL = frozenset(
    {LetterState.SENT, LetterState.PARTIAL, LetterState.FAILED, LetterState.CANCELLED, LetterState.REJECTED}
)

UNSETTLED = tuple(each for each in LetterState if not each.is_settled)
"""Where something happens to a letter by itself, when its time has come."""

_OVER = frozenset({LetterState.SENT, LetterState.PARTIAL, LetterState.FAILED})

EDGES: Mapping[LetterState, frozenset[LetterState]] = MappingProxyType(
    {
        LetterState.SCHEDULED: frozenset({LetterState.QUEUED, LetterState.CANCELLED, LetterState.HELD}),
        LetterState.QUEUED: _OVER | {LetterState.SENDING, LetterState.CANCELLED, LetterState.HELD},
        LetterState.SENDING: _OVER | {LetterState.DEFERRED, LetterState.QUEUED, LetterState.HELD, LetterState.REJECTED},
        LetterState.DEFERRED: _OVER | {LetterState.QUEUED, LetterState.CANCELLED, LetterState.HELD},
        LetterState.HELD: _OVER | {LetterState.SCHEDULED, LetterState.QUEUED, LetterState.CANCELLED},
        LetterState.PARTIAL: frozenset({LetterState.QUEUED, LetterState.SENT}),
        LetterState.FAILED: frozenset({LetterState.QUEUED, LetterState.SENT, LetterState.PARTIAL}),
        LetterState.CANCELLED: frozenset({LetterState.QUEUED, LetterState.SENT, LetterState.PARTIAL}),
        LetterState.SENT: frozenset(),
        LetterState.REJECTED: frozenset(),
    }
)
"""From each state, the states a letter may go to next."""


LETTER_STATES: Mapping[LetterState, str] = MappingProxyType(
    {
        LetterState.SCHEDULED: "it waits for its time (`send_at`)",
        LetterState.QUEUED: "it is ready, and its bell was rung",
        LetterState.SENDING: "a worker has claimed it",
        LetterState.DEFERRED: "somebody could not be served yet; it is tried again when it is due",
        LetterState.HELD: "it waits for an operator, or for a decision after an uncertain outcome",
        LetterState.SENT: "every recipient was accepted",
        LetterState.PARTIAL: "some were accepted, the others refused or given up",
        LetterState.FAILED: "nobody was accepted",
        LetterState.CANCELLED: "it was cancelled before anybody was served",
        LetterState.REJECTED: "it was malformed when it arrived on the queue, and is kept for inspection",
    }
)
"""What each state of a letter means."""

RECIPIENT_STATES: Mapping[RecipientState, str] = MappingProxyType(
    {
        RecipientState.PENDING: "not tried yet",
        RecipientState.ACCEPTED: "the relay is responsible for it now",
        RecipientState.DEFERRED: "not this time; tried again",
        RecipientState.REFUSED: "the relay said no, for good",
        RecipientState.EXPIRED: "given up, or its time was over (`expires_in`)",
        RecipientState.CANCELLED: "cancelled before it was served",
    }
)
"""What each state of a recipient means."""


def letter_state(recipients: Collection[RecipientState]) -> LetterState:
    """Return the state that follows from the recipients', once an attempt is over."""
    if any(state.is_open for state in recipients):
        return LetterState.DEFERRED
    accepted = sum(state is RecipientState.ACCEPTED for state in recipients)
    if accepted == len(recipients):
        return LetterState.SENT
    if accepted:
        return LetterState.PARTIAL
    if all(state is RecipientState.CANCELLED for state in recipients):
        return LetterState.CANCELLED
    return LetterState.FAILED
