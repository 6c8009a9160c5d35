"""The rules that every part keeps, however it came to be: by hand, by `make_mime_part` or out of a queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from postroom.errors import InvalidLetter, Problems, invalid
from postroom.mime import charset as charsets
from postroom.mime import content_type as content_types
from postroom.mime import field_names, file_name, header, transfer_encoding
from postroom.mime.parameter import check_attribute

if TYPE_CHECKING:
    from postroom.mime.part import Part
from postroom.mime.stored import Stored

DEEPEST: Final = 100
"""Levels of parts within parts. The standard library's parser reads 300; other readers fewer."""

MOST_PARTS: Final = 1000

_DISPOSITIONS: Final = ("attachment", "inline")
CONTENT_ID: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@:\[\]-]{1,250}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

WRITTEN_BY_US: Final[Mapping[str, str]] = {
    "mime-version": "leave it out, every letter has it",
    "content-type": "give it as content_type=",
    "content-transfer-encoding": "give it as encoding=",
    "content-length": "leave it out",
    "bcc": "give the recipients to the letter, as bcc=",
    "resent-bcc": "give the recipients to the letter, as bcc=",
    "return-path": "give it to the letter, as envelope_from=",
    "received": "leave it out",
    "dkim-signature": "leave it out, the worker signs",
}
"""Header fields, in lower case, that a part may not bring → what to do instead."""


def check(part: Part) -> None:
    """Check a part against all rules. Its subparts keep them already.

    Raises:
        InvalidLetter: it breaks some; it names every problem.
    """
    _check_content_type(part)
    problems = Problems()
    for rule in _CONTENT_RULES if _is_content_alone(part) else _RULES:
        try:
            rule(part)
        except InvalidLetter as error:
            problems.extend(error.problems)
    problems.raise_if_any()


def _is_content_alone(part: Part) -> bool:
    """True for most bodies: then the other rules have nothing to look at."""
    return not (
        part.parameters
        or part.headers
        or part.subparts
        or part.is_multipart
        or (part.disposition, part.name, part.content_id, part.description) != (None, None, None, None)
    )


def _check_content_type(part: Part) -> None:
    if content_types.check(part.content_type, "content_type") != part.content_type:
        raise invalid("content_type", f"{part.content_type!r} is not in lower case", "write it in lower case")


def _check_content(part: Part) -> None:
    if part.is_multipart:
        if part.content:
            raise invalid("text", "a multipart has no content of its own", "give subparts=")
        if part.encoding is not None:
            raise invalid("encoding", "a multipart has no encoding of its own", "leave it out (RFC 2045 §6.4)")
        return
    if part.encoding not in transfer_encoding.ENCODINGS:
        remedy = f"use {', '.join(map(repr, sorted(transfer_encoding.ENCODINGS)))}, or leave it out"
        raise invalid("encoding", f"{str(part.encoding)[:80]!r} is unknown", remedy)
    if content_types.is_message(part.content_type) and part.encoding not in ("7bit", "8bit"):
        problem = f"a {part.content_type} part may not travel as {part.encoding}"
        raise invalid("encoding", problem, "use '7bit' or '8bit' (RFC 2046 §5.2.1)")
    if not isinstance(part.content, bytes):
        _check_stored(part.content)
    elif not transfer_encoding.fits(part.content, part.encoding):
        problem = f"the content cannot travel as {part.encoding}: NUL, bare CR or LF, long lines or other octets"
        raise invalid("encoding", problem, "use 'quoted-printable' or 'base64'")


def _check_stored(stored: Stored) -> None:
    if not (_SHA256.fullmatch(stored.sha256) and stored.size >= 0):
        raise invalid("content", f"{stored.sha256[:80]!r} is no SHA-256 digest", "write it in lower-case hexadecimal")


def _check_charset(part: Part) -> None:
    if part.charset is None:
        return
    if part.is_multipart or content_types.is_message(part.content_type):
        raise invalid("charset", f"a {part.content_type} part has none", "leave it out (RFC 2046 §5)")
    charsets.codec_of(part.charset, "charset")
    if isinstance(part.content, bytes) and not charsets.holds(part.content, part.charset, "charset"):
        raise invalid("charset", f"the content is not in {part.charset}", "name the charset that it is in")


def _check_parameters(part: Part) -> None:
    if not part.parameters:
        return
    problems = Problems()
    seen = {"boundary", "charset"} if part.charset else {"boundary"}
    for name, value in part.parameters:
        place = f"parameters[{name[:40]!r}]"
        with problems.collecting():
            key = check_attribute(name, place).lower()
            if key in seen:
                raise invalid(place, "it is given twice, or Postroom writes it", "leave it out")
            seen.add(key)
            header.check_text(value, place)
    problems.raise_if_any()


def _check_headers(part: Part) -> None:
    if not part.headers:
        return
    problems = Problems()
    seen: set[str] = set()
    for name, value in part.headers:
        place = f"headers[{name[:40]!r}]"
        with problems.collecting():
            key = header.check_field_name(name, place).lower()
            if key in WRITTEN_BY_US:
                raise invalid(place, "this field is not the caller's to write", WRITTEN_BY_US[key])
            if key in seen and key in field_names.SINGLE:
                raise invalid(place, "it is given twice", "give it once (RFC 5322 §3.6, RFC 2045 §3)")
            seen.add(key)
            header.field_octets(name, value, place)
    problems.raise_if_any()


def _check_disposition(part: Part) -> None:
    if part.disposition is not None and part.disposition not in _DISPOSITIONS:
        raise invalid("disposition", f"{str(part.disposition)[:80]!r} is unknown", "use 'attachment' or 'inline'")


def _check_name(part: Part) -> None:
    if part.name is not None and file_name.clean(part.name, "name") != part.name:
        raise invalid("name", f"{part.name[:80]!r} is more than a file name", "leave out folders and bidi overrides")


def _check_content_id(part: Part) -> None:
    if part.content_id is not None and not (isinstance(part.content_id, str) and CONTENT_ID.fullmatch(part.content_id)):
        remedy = "use up to 250 ASCII letters, digits, dots, hyphens and @"
        raise invalid("content_id", f"{str(part.content_id)[:80]!r} is no content id", remedy)


def _check_description(part: Part) -> None:
    if part.description is not None:
        if not isinstance(part.description, str):
            raise invalid("description", f"it is {type(part.description).__name__}", "give a str")
        header.check_text(part.description, "description")


def _check_subparts(part: Part) -> None:
    if not part.is_multipart:
        if part.subparts:
            raise invalid("subparts", f"a {part.content_type} part has none", "make it a multipart")
        return
    if not part.subparts:
        raise invalid("subparts", "a multipart has at least one", "give some, or another content type")
    # Level by level, so that neither a deep tree nor one that holds itself exhausts the stack.
    level, levels, count = part.subparts, 1, 1
    while level:
        levels, count = levels + 1, count + len(level)
        if levels > DEEPEST:
            raise invalid("subparts", f"there are more than {DEEPEST} levels of them", "nest them less deeply")
        if count > MOST_PARTS:
            raise invalid("subparts", f"there are more than {MOST_PARTS} of them", "send several letters")
        level = tuple(below for each in level for below in each.subparts)


_CONTENT_RULES: Final[tuple[Callable[[Part], None], ...]] = (_check_content, _check_charset)
_RULES: Final[tuple[Callable[[Part], None], ...]] = (
    *_CONTENT_RULES,
    _check_parameters,
    _check_headers,
    _check_disposition,
    _check_name,
    _check_content_id,
    _check_description,
    _check_subparts,
)
