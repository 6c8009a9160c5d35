"""What the ledger holds of a letter, as values: recipients, claims, statuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from postroom.states import LetterState, RecipientState


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One forward-path of a letter and what became of it."""

    address: str
    state: RecipientState = RecipientState.PENDING
    reply: str = ""
    """What the server last said about it, or why there is no reply."""
    attempts: int = 0
    """How often it was tried; attempts that failed through the relay's fault are not counted."""


Recipients = tuple[Recipient, ...]
_recipients = msgspec.json.Decoder(Recipients)


def encode_recipients(recipients: Sequence[Recipient]) -> bytes:
    """Return the JSON that the ledger keeps."""
    return msgspec.json.encode(recipients)


def decode_recipients(kept: bytes | str) -> Recipients:
    """Return the recipients that the ledger kept."""
    return _recipients.decode(kept)


def expired(recipients: Sequence[Recipient], why: str) -> list[Recipient]:
    """Return the recipients, those not served yet as expired; what the server last said of them stays."""
    return [
        Recipient(each.address, RecipientState.EXPIRED, each.reply or why, each.attempts)
        if each.state.is_open
        else each
        for each in recipients
    ]


def text(kept: object) -> str:
    """Return a value of Redis as text; empty when there is none."""
    return kept.decode() if isinstance(kept, bytes) else str(kept or "")


class Claim(msgspec.Struct, frozen=True):
    """A worker's lease on a letter."""

    letter_id: str
    nonce: str
    """Ours alone: with the fence it makes the token that every write is checked by."""
    fence: int
    now_ms: int
    """Redis's time at the claim."""
    claimed_s: float
    """Our steady clock's at the claim: what passed since is counted by it."""
    letter: bytes
    """The letter, as `kept_letter` reads it."""
    recipients: Recipients
    attempts: int
    """Attempts so far that counted."""
    expires_ms: int
    """When the letter is worthless; 0 for never."""
    give_up_ms: int
    uncertain: int
    pauses: int
    on_uncertain: str
    contents: tuple[str, ...] = ()
    """The digests of what it keeps in the contents."""
    queue: str = ""
    """The queue it travels in, on its retries too."""
    begins_ms: int = 0
    """When it might first be sent."""
    trace: str = ""
    """The trace that it was accepted in (`traceparent` of W3C Trace Context); empty when there is none."""
    via: str = ""
    """The relay that an operator sends it through; empty for the one that it names, or any."""


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What became of one recipient."""

    state: RecipientState
    reply: str
    """The last reply, such as ``451 4.7.1 greylisted``; empty before the first attempt."""
    attempts: int


@dataclass(frozen=True, slots=True)
class LetterStatus:
    """What became of a letter, so far."""

    id: str
    state: LetterState
    recipients: dict[str, RecipientStatus]
    """By address, in the order of the envelope."""
    attempts: int
    next_attempt_at: float | None
    """Seconds since 1970, or None when no attempt is due."""
    reason: str
    """Why it is held, failed or rejected, or waits without a try; empty otherwise."""
    accepted_at: float
    """Seconds since 1970."""
    subject: str
    sender: str
    tags: tuple[str, ...] = ()
    relay: str = ""
    """The relay that it was last tried through, or had to wait for; empty before that."""


@dataclass(frozen=True, slots=True)
class Account:
    """A letter's status together with its history."""

    status: LetterStatus
    history: tuple[dict[str, Any], ...]
    """Every event, oldest first: ``event``, ``at_ms``, and the keys of that event."""
    now_ms: int
    """Redis's time when it was read."""
