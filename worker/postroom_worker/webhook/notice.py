"""What a webhook says, and how it is signed: the Standard Webhooks format, version 1. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from postroom.errors import InvalidSettings
from postroom.ledger import LetterStatus
from postroom.ledger.events import Event
from postroom.states import LetterState

_PREFIX: Final = "whsec_"
_SECRET_OCTETS: Final = (24, 64)
_RECIPIENTS_MAX: Final = 100
_ENDS: Final = frozenset({"attempt", "testified", "expired", "given_up", "cancelled", "held", "rejected"})
"""The events that bring a letter to a state that can be told of."""


def can_tell(event: Event) -> bool:
    """True for an event that can bring a letter to a state that is told of."""
    return event.event["event"] in _ENDS


def body(event: Event, status: LetterStatus | None, states: frozenset[LetterState]) -> str:
    """Return the JSON that tells of an event; empty when it brings the letter to none of these states.

    Args:
        event: what happened.
        status: how the letter stands by now; None when it is gone: then only what the event has is told.
        states: those that are told of.
    """
    if not can_tell(event):
        return ""
    found = event.event.get("state") or (status.state if status else "")
    if found not in states:
        return ""
    data = {
        "letter": event.letter_id,
        "state": found,
        "why": event.event.get("why") or (status.reason if status else ""),
        "tags": list(status.tags) if status else [],
        "attempts": status.attempts if status else event.event.get("number", 0),
        **_recipients(event, status),
    }
    when = datetime.fromtimestamp(event.event["at_ms"] / 1000, UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode(
        {"type": f"letter.{found}", "timestamp": when.replace("+00:00", "Z"), "data": data}
    ).decode()


def _recipients(event: Event, status: LetterStatus | None) -> dict[str, Any]:
    if status:
        rows: Sequence[Mapping[str, Any]] = [
            {"address": address, "state": each.state, "reply": each.reply, "attempts": each.attempts}
            for address, each in status.recipients.items()
        ]
    else:
        rows = event.event.get("recipients", [])
    # Those who did not get it first: with very many, they are what is wanted.
    rows = sorted(rows, key=lambda each: each["state"] == "accepted")
    return {"recipients": rows[:_RECIPIENTS_MAX], "recipients_number": len(rows)}


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Return the secrets that a setting holds: as a receiver's library is given them, ``whsec_`` and base64.

    Raises:
        InvalidSettings: there is none, or one cannot be read. The message shows none.
    """
    found = []
    for each in text.split():
        try:
            secret = base64.b64decode(each.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise InvalidSettings("POSTROOM_WEBHOOK_SECRET has to be whsec_ and base64") from None
        if not _SECRET_OCTETS[0] <= len(secret) <= _SECRET_OCTETS[1]:
            raise InvalidSettings("POSTROOM_WEBHOOK_SECRET has to be of 24 to 64 octets: openssl rand -base64 32")
        found.append(secret)
    if not found:
        raise InvalidSettings(
            "POSTROOM_WEBHOOK_SECRET or POSTROOM_WEBHOOK_SECRET_FILE has to be set, too: webhooks are signed"
        )
    return tuple(found)


def headers(webhook_id: str, now_s: int, content: str, secrets: Sequence[bytes]) -> dict[str, str]:
    """Return the header fields by which a receiver verifies who posted this, and when.

    Args:
        webhook_id: the same, however often it is posted.
        now_s: seconds since 1970.
        content: what is posted.
        secrets: each signs.
    """
    signed = f"{webhook_id}.{now_s}.{content}".encode()
    signatures = (base64.b64encode(hmac.digest(each, signed, hashlib.sha256)).decode() for each in secrets)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
