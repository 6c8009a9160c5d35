"""A letter out of the ledger: checked when it was accepted, and made again without the checks, which is much faster.

Letters from anywhere else are read by `Letter.from_json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from postroom.address import parse_addresses, parse_mailbox
from postroom.errors import invalid
from postroom.letter import Letter
from postroom.letter_json import PartJson, structure
from postroom.mime.part import Part
from postroom.mime.stored import Stored

T = TypeVar("T")

_SAME = (
    *("id", "date_ms", "subject", "text_from_html", "envelope_from", "ret", "envid", "relay", "send_at_ms"),
    *("expires_in_ms", "priority", "idempotency_key", "on_uncertain"),
)
_TUPLES = ("headers", "notify", "tags")
_ADDRESSES = ("to", "cc", "bcc", "reply_to")
_BODIES = ("message", "html", "calendar", "ready")
_FILES = ("attachments", "inline")


def kept_letter(text: bytes) -> Letter:
    """Return the letter that `Letter.to_json` wrote.

    Args:
        text: the JSON, from a ledger that nobody else writes to: names and types are checked, and the addresses.

    Raises:
        NewerSchema: it was written by a newer Postroom.
        InvalidLetter: it is no such JSON.
    """
    read = structure(text)
    fields: dict[str, Any] = {name: getattr(read, name) for name in _SAME}
    fields["from_"] = parse_mailbox(read.from_ or "", "from_", allow_domain_literal=True)
    for name in _TUPLES:
        fields[name] = tuple(getattr(read, name))
    for name in _ADDRESSES:
        written = getattr(read, name)
        fields[name] = parse_addresses(written, name, allow_domain_literal=True) if written else ()
    for name in _BODIES:
        body = getattr(read, name)
        if isinstance(body, str):
            raise invalid(name, "a letter in the ledger has parts", "read it with Letter.from_json")
        fields[name] = None if body is None else _part(body)
    for name in _FILES:
        fields[name] = tuple(map(_part, getattr(read, name)))
    return _made(Letter, fields)


def _part(read: PartJson) -> Part:
    content: bytes | Stored = read.text.encode() if read.text is not None else read.base64 or b""
    return _made(
        Part,
        {
            "content_type": read.type,
            "content": Stored(read.stored.sha256, read.stored.size) if read.stored else content,
            "charset": read.charset,
            "encoding": read.encoding,
            "parameters": tuple(read.parameters),
            "headers": tuple(read.headers),
            "disposition": read.disposition,
            "name": read.name,
            "content_id": read.content_id,
            "description": read.description,
            "subparts": tuple(map(_part, read.subparts)),
            "encoded": None,
        },
    )


def _made(kind: type[T], fields: Mapping[str, Any]) -> T:
    """An instance of a frozen dataclass, with these fields and no checks."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
