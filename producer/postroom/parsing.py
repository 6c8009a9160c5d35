"""Reading a message, or another MIME entity, into parts (RFC 2045, RFC 2046): as much of it as could be sent again.

The standard library reads the header of each entity, but the tree is walked here: its parser calls itself for each
level, and would write a message within a message anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value
from itertools import count
from typing import Final, TypeVar

from postroom import charset as charsets
from postroom import content as contents
from postroom import content_type as content_types
from postroom import file_name, header, part_rules, transfer_encoding
from postroom.content import Wanted
from postroom.errors import InvalidLetter, invalid
from postroom.part import Pairs, Part

LONGEST_HEADER: Final = 256 * 1024
"""Octets of the header of one entity."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_FIELD: Final = re.compile(rb"(?:From |[!-9;-~]+[ \t]*:)")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_FIELDS_OF_PARTS: Final = frozenset(
    {"content-type", "content-transfer-encoding", "content-id", "content-description", "content-disposition"}
)

_Result = TypeVar("_Result")


def parse(raw: bytes) -> Part:
    """Return the part that an entity is.

    Raises:
        InvalidLetter: a header in it is too long, or there are too many parts, or too many levels of them.
    """
    if raw.startswith(_BYTE_ORDER_MARK):
        raise invalid("raw", "it begins with a byte order mark", "take the first three octets off")
    numbers = count(1)
    return _entity(transfer_encoding.normalize_newlines(raw), content_types.TEXT, 1, numbers)


def _entity(octets: bytes, default_type: str, level: int, numbers: Iterator[int]) -> Part:
    if level > part_rules.DEEPEST:
        raise invalid("raw", f"it has more than {part_rules.DEEPEST} levels of parts", "read the inner ones alone")
    if next(numbers) > part_rules.MOST_PARTS:
        raise invalid("raw", f"it has more than {part_rules.MOST_PARTS} parts", "read the inner ones alone")
    head, body = _head_and_body(octets)
    fields = BytesHeaderParser().parsebytes(head)
    fields.set_default_type(default_type)
    kind = _or_none(content_types.check, fields.get_content_type(), "raw") or content_types.OCTETS
    if content_types.is_multipart(kind):
        default_type = content_types.MESSAGE if kind == "multipart/digest" else content_types.TEXT
        pieces = _pieces(body, fields.get_boundary())
        if subparts := tuple(_entity(piece, default_type, level + 1, numbers) for piece in pieces):
            return _part(fields, contents.Content(kind), subparts)
        kind = content_types.TEXT
    return _part(fields, _content(fields, body, kind), ())


def _head_and_body(octets: bytes) -> tuple[bytes, bytes]:
    if not _FIELD.match(octets):
        return b"", octets.removeprefix(b"\r\n")
    head, _, body = octets.partition(b"\r\n\r\n")
    if len(head) > LONGEST_HEADER:
        raise invalid("raw", f"a header in it has {len(head)} octets", f"at most {LONGEST_HEADER} are read")
    return head, body


def _pieces(body: bytes, boundary: str | None) -> list[bytes]:
    """Return the entities between the delimiters of a multipart's body (RFC 2046 §5.1.1)."""
    if not boundary:
        return []
    octets = boundary.encode("ascii", "surrogateescape")
    pieces = []
    start = None
    for delimiter in re.finditer(rb"(?:\A|\r\n)--%b(--)?[ \t]*(?=\r\n|\Z)" % re.escape(octets), body):
        if start is not None:
            pieces.append(body[start : delimiter.start()])
        start = delimiter.end() + 2
        if delimiter[1]:
            return pieces
    return pieces if start is None else [*pieces, body[start:]]


def _content(fields: Message, body: bytes, kind: str) -> contents.Content:
    encoding = str(fields.get("content-transfer-encoding", "7bit")).strip().lower()
    octets = transfer_encoding.decode(body, encoding)
    named = _or_none(charsets.codec_of, fields.get_content_charset() or "", "raw")
    charset = named[0] if named and charsets.holds(octets, named[0], "raw") else None
    if content_types.is_message(kind):
        charset = None
    fits = encoding in transfer_encoding.ENCODINGS and transfer_encoding.fits(octets, encoding)
    if content_types.is_message(kind) and encoding not in ("7bit", "8bit"):
        fits = False
    return contents.of_octets(octets, Wanted(kind, True, charset, encoding if fits else None, True))


def _part(fields: Message, content: contents.Content, subparts: tuple[Part, ...]) -> Part:
    name = _name(fields)
    return Part(
        *content,
        parameters=_parameters(fields, content.charset, name),
        headers=tuple(_headers(fields)),
        disposition=_disposition(fields),
        name=name,
        content_id=_content_id(fields),
        description=_text(fields.get("content-description")),
        subparts=subparts,
    )
