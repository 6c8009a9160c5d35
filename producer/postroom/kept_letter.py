"""A letter out of the ledger: checked when it was accepted, and made again without the checks, which is much faster.

Letters from anywhere else are read by `Letter.from_json`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from postroom.address import parse_addresses, parse_mailbox
from postroom.errors import invalid
from postroom.fields import filled
from postroom.letter import Letter, as_given, nowhere
from postroom.letter_json import PartJson, decode, structure
from postroom.mime.part import Part
from postroom.mime.stored import Stored
from postroom.settings import Settings
from postroom.unchecked import unchecked

_SAME = (
    *("id", "date_ms", "subject", "text_from_html", "envelope_from", "ret", "envid", "relay", "send_at_ms"),
    *("expires_in_ms", "priority", "idempotency_key", "on_uncertain"),
)
_TUPLES = ("headers", "notify", "tags")
_ADDRESSES = ("to", "cc", "bcc", "reply_to")
_BODIES = ("message", "html", "calendar", "ready")
_FILES = ("attachments", "inline")
_NO_LIMITS = Settings(
    domain_literals=True,
    letter_max=sys.maxsize,
    header_max=sys.maxsize,
    recipients_max=sys.maxsize,
    parts_max=sys.maxsize,
)
"""Those that a letter was accepted under may have been wider than ours."""
_TEMPLATES_MAX = 16
_templates: dict[str, Mapping[str, Any]] = {}


def kept_letter(text: bytes, read_contents: Callable[[Stored], bytes] = nowhere) -> Letter:
    """Return the letter that was written into the ledger.

    Args:
        text: the JSON, from a ledger that nobody else writes to: names and types are checked, and the addresses.
        read_contents: gives the octets of what is stored beside it: of a mail-merge, what its letters have in common.

    Raises:
        NewerSchema: it was written by a newer Postroom.
        InvalidLetter: it is no such JSON.
        ValueError: what is stored beside it is not there.
    """
    read = structure(text)
    if read.template is not None:
        keywords = filled(_template(Stored(read.template.sha256, read.template.size), read_contents), read.fields)
        return Letter(**as_given(keywords), id=read.id, date_ms=read.date_ms, settings=_NO_LIMITS)
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
    fields["merged"] = None
    return unchecked(Letter, fields)


def _template(stored: Stored, read: Callable[[Stored], bytes]) -> Mapping[str, Any]:
    """Return the keywords of a template. Those last used are kept: the letters of a mail-merge come together."""
    found = _templates.get(stored.sha256)
    if found is None:
        found, problems = decode(read(stored))
        problems.raise_if_any()
        while len(_templates) >= _TEMPLATES_MAX:
            _templates.pop(next(iter(_templates)), None)
        _templates[stored.sha256] = found
    return found


def _part(read: PartJson) -> Part:
    content: bytes | Stored = read.text.encode() if read.text is not None else read.base64 or b""
    return unchecked(
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
