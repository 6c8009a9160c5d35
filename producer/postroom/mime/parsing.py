"""Reading a message, or another MIME entity, into parts (RFC 2045, RFC 2046): as much of it as could be sent again.

The standard library reads the header of each entity, but the tree is walked here: its parser calls itself for each
level, and would write a message within a message anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

from postroom.errors import InvalidLetter, invalid
from postroom.mime import charset as charsets
from postroom.mime import content as contents
from postroom.mime import content_type as content_types
from postroom.mime import field_names, file_name, header, part_rules, transfer_encoding
from postroom.mime.content import Content, Wanted
from postroom.mime.encoded_word import decode_header
from postroom.mime.parameter import check_attribute

if TYPE_CHECKING:
    from postroom.mime.part import Part

LONGEST_HEADER: Final = 256 * 1024
"""Octets of the header of one entity."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_FIELD: Final = re.compile(rb"(?:From |[!-9;-~]+[ \t]*:)")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_FOLD: Final = re.compile(r"\r?\n(?=[ \t])")
_WORD: Final = r"=\?[^?\s]+\?[BbQq]\?[^?\s]*\?="
_WORDS: Final = re.compile(rf"{_WORD}(?:\s+{_WORD})*")
_TO_ESCAPE: Final = re.compile(r'["\\]')
_OF_PARTS: Final = frozenset({"content-id", "content-description", "content-disposition"})
"""Fields that have a place of their own in a part, beside those that it may not bring."""

Parameters = dict[str, tuple[str, str]]
_NO_PARAMETER: Final = ("", "")

_Result = TypeVar("_Result")


def parse(raw: bytes, make: type[Part]) -> Part:
    """Return the part that an entity is.

    Args:
        raw: its octets.
        make: makes a part; given, since parts themselves know how they are read.

    Raises:
        InvalidLetter: a header in it is too long, or there are too many parts, or too many levels of them.
    """
    if raw.startswith(_BYTE_ORDER_MARK):
        raise invalid("raw", "it begins with a byte order mark", "take the first three octets off")
    # The line end before it serves a delimiter that is its first line.
    octets = b"\r\n" + transfer_encoding.normalize_newlines(raw)
    return _entity(_Span(octets, 2, len(octets)), content_types.TEXT, 1, count(1), make)


@dataclass(frozen=True, slots=True)
class _Span:
    """A piece of the message. Only what becomes content is copied: a hundred levels may each be nearly the whole."""

    octets: bytes
    start: int
    end: int

    def __bytes__(self) -> bytes:
        return self.octets[self.start : self.end]


def _entity(span: _Span, default_type: str, level: int, numbers: Iterator[int], make: type[Part]) -> Part:
    if level > part_rules.DEEPEST:
        raise invalid("raw", f"it has more than {part_rules.DEEPEST} levels of parts", "read the inner ones alone")
    if next(numbers) > part_rules.MOST_PARTS:
        raise invalid("raw", f"it has more than {part_rules.MOST_PARTS} parts", "read the inner ones alone")
    head, body = _head_and_body(span)
    fields = BytesHeaderParser().parsebytes(head)
    fields.set_default_type(default_type)
    kind = _or_none(content_types.check, fields.get_content_type()) or content_types.OCTETS
    parameters = _parameters(fields, "content-type")
    subparts: tuple[Part, ...] = ()
    if content_types.is_multipart(kind):
        default_type = content_types.MESSAGE if kind == "multipart/digest" else content_types.TEXT
        pieces = _pieces(body, parameters.get("boundary", _NO_PARAMETER)[1])
        subparts = tuple(_entity(piece, default_type, level + 1, numbers, make) for piece in pieces)
        content = Content(kind) if subparts else _content(fields, bytes(body), content_types.TEXT, parameters)
    else:
        content = _content(fields, bytes(body), kind, parameters)
    return _part(fields, content, parameters, subparts, make)


def _head_and_body(span: _Span) -> tuple[bytes, _Span]:
    octets, start, end = span.octets, span.start, span.end
    if not _FIELD.match(octets, start, end):
        return b"", _Span(octets, start + 2 if octets.startswith(b"\r\n", start, end) else start, end)
    blank = octets.find(b"\r\n\r\n", start, end)
    stop = end if blank < 0 else blank
    if stop - start > LONGEST_HEADER:
        raise invalid("raw", f"a header in it has {stop - start} octets", f"at most {LONGEST_HEADER} are read")
    return octets[start:stop], _Span(octets, min(stop + 4, end), end)


def _pieces(body: _Span, boundary: str) -> Iterator[_Span]:
    """Yield the entities between the delimiters of a multipart's body (RFC 2046 §5.1.1)."""
    if not boundary:
        return
    delimiter = re.compile(rb"\r\n--%b(--)?[ \t]*(?=\r\n|\Z)" % re.escape(boundary.rstrip().encode()))
    start = None
    for found in delimiter.finditer(body.octets, body.start - 2, body.end):
        if start is not None:
            yield _Span(body.octets, start, max(start, found.start()))
        if found[1]:
            return
        start = min(found.end() + 2, body.end)
    if start is not None:
        yield _Span(body.octets, start, body.end)


def _content(fields: Message, body: bytes, kind: str, parameters: Parameters) -> Content:
    encoding = str(fields.get("content-transfer-encoding", "7bit")).strip().lower()
    octets = transfer_encoding.decode(body, encoding)
    is_message = content_types.is_message(kind)
    charset = None if is_message else _charset(octets, parameters.get("charset", _NO_PARAMETER)[1])
    spoken = ("7bit", "8bit") if is_message else transfer_encoding.ENCODINGS
    fits = encoding in spoken and transfer_encoding.fits(octets, encoding)
    return contents.of_octets(octets, Wanted(kind, True, charset, encoding if fits else None, True))


def _charset(octets: bytes, named: str) -> str | None:
    known = _or_none(charsets.codec_of, named)
    return known[0] if known and charsets.holds(octets, known[0], "raw") else None


def _part(
    fields: Message, content: Content, parameters: Parameters, subparts: tuple[Part, ...], make: type[Part]
) -> Part:
    _, path = _parameters(fields, "content-disposition").get("filename") or parameters.get("name", _NO_PARAMETER)
    name = _or_none(file_name.clean, path)
    left_out = {"boundary", "charset" if content.charset else "", "name" if name else ""}
    return make(
        *content,
        parameters=tuple(_others(parameters, left_out)),
        headers=tuple(_headers(fields)),
        disposition=_disposition(fields),
        name=name,
        content_id=_content_id(fields),
        description=_text(_description(fields)) or None,
        subparts=subparts,
    )


def _parameters(fields: Message, of: str) -> Parameters:
    """Return the parameters of a field, attribute and text, by the attribute in lower case."""
    parameters: Parameters = {}
    try:
        given = (fields.get_params(header=of) or [])[1:]
    except (TypeError, ValueError):  # the standard library fails on some that contradict RFC 2231
        return parameters
    for attribute, value in given:
        key = attribute.lower()
        if isinstance(value, tuple):
            # One in RFC 2231's form is the original of what may stand there in plain, too.
            parameters[key] = (attribute, _CONTROLS.sub("", collapse_rfc2231_value(value)))
        elif key not in parameters:
            # Many senders encode it as RFC 2047 forbids.
            parameters[key] = (attribute, _CONTROLS.sub("", decode_header(_CONTROLS.sub("", value))))
    return parameters


def _others(parameters: Parameters, left_out: Container[str]) -> Iterator[tuple[str, str]]:
    for key, (attribute, value) in parameters.items():
        is_sound = _or_none(check_attribute, attribute) is not None and _or_none(header.check_text, value) is not None
        if is_sound and key not in left_out:
            yield attribute, value


def _headers(fields: Message) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for name, value in fields.raw_items():
        key = name.lower()
        if key in _OF_PARTS or key in part_rules.WRITTEN_BY_US or (key in seen and key in field_names.SINGLE):
            continue
        text = _field_text(key, str(value))
        if text is not None and _or_none(partial(header.field_octets, name), text) is not None:
            seen.add(key)
            yield name, text


def _field_text(key: str, value: str) -> str | None:
    if key in field_names.STRUCTURED:
        return _text(value, decoded=False)
    if key in field_names.ADDRESS:
        # A decoded name may hold what parts addresses: between quotes it cannot.
        return _text(_WORDS.sub(_quoted, _FOLD.sub("", value)), decoded=False)
    return _text(value)


def _quoted(words: re.Match[str]) -> str:
    return '"' + _TO_ESCAPE.sub(r"\\\g<0>", decode_header(words[0])) + '"'


def _description(fields: Message) -> str | None:
    # As it came: `get` would make something else of octets beyond ASCII.
    return next((str(value) for name, value in fields.raw_items() if name.lower() == "content-description"), None)


def _text(value: str | None, *, decoded: bool = True) -> str | None:
    """Return what a field says, if it is fit to be said again; of one whose decoding is not, the field as it stands."""
    if value is None:
        return None
    raw = _FOLD.sub("", value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")).strip(" \t\r\n")
    text = decode_header(raw) if decoded else raw
    return _or_none(header.check_text, text) or _or_none(header.check_text, raw)


def _disposition(fields: Message) -> str | None:
    given = fields.get_content_disposition()
    # RFC 2183 §2.8: one that is unknown is an attachment.
    return given if given in (None, "inline") else "attachment"


def _content_id(fields: Message) -> str | None:
    given = str(fields.get("content-id", "")).strip().removeprefix("<").removesuffix(">")
    return given if part_rules.CONTENT_ID.fullmatch(given) else None


def _or_none(step: Callable[[str, str], _Result], value: str) -> _Result | None:
    try:
        return step(value, "raw")
    except InvalidLetter:
        return None
