"""The content of a part: from what a caller gives to octets, and to how these are labelled and travel."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeVar

from postroom.errors import invalid
from postroom.mime import charset as charsets
from postroom.mime import content_type as content_types
from postroom.mime import transfer_encoding

_BYTE_ORDER_MARK: Final = "\ufeff"
_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")

_Text = TypeVar("_Text", str, bytes)


class Content(NamedTuple):
    """Octets, and how they are labelled and travel."""

    content_type: str
    octets: bytes = b""
    charset: str | None = None
    encoding: str | None = None


class Wanted(NamedTuple):
    """What is known of the content before it is looked at."""

    content_type: str
    is_guessed: bool
    """Whether the content type is derived from the file name only."""
    charset: str | None
    """The MIME name of what the caller named."""
    encoding: str | None
    """What the caller named."""
    is_file: bool
    """Whether octets must arrive as they are, those of text too."""


def of_text(text: str, wanted: Wanted) -> Content:
    """Return the content that a str is. Of text/* line ends become canonical, and a body loses its byte order mark.

    Raises:
        InvalidLetter: the charset cannot hold it, or it is no message where one is wanted.
    """
    kind, _, charset, encoding, is_file = wanted
    is_text = content_types.is_text(kind)
    if is_text:
        text = text if is_file else text.removeprefix(_BYTE_ORDER_MARK)
        charset = charset or charsets.UTF_8
    octets = charsets.encode(text, charset or charsets.UTF_8, "text")
    if content_types.is_message(kind):
        return _of_message(octets, wanted)
    if is_text:
        octets = transfer_encoding.normalize_newlines(octets)
    if encoding is None:
        encoding = transfer_encoding.choose(octets, textual=True, is_canonical=is_text or None)
    return Content(kind, octets, charset, encoding)


def of_octets(octets: bytes, wanted: Wanted) -> Content:
    """Return the content that octets are. Of a text/* body line ends become canonical; a file stays as it is.

    Raises:
        InvalidLetter: they are not in the charset, or no message where one is wanted.
    """
    kind, _, charset, encoding, is_file = wanted
    if content_types.is_message(kind):
        return _of_message(octets, wanted)
    is_text = content_types.is_text(kind)
    if charset is not None:
        if not charsets.holds(octets, charset, "charset"):
            raise invalid("charset", f"the content is not in {charset}", "name the charset that it is in")
    elif is_text and charsets.holds(octets, charsets.UTF_8, "charset"):
        charset = charsets.UTF_8
    elif is_text and not is_file:
        raise invalid("charset", f"the text is not in {charsets.UTF_8}", "name the charset that it is in")
    is_body = is_text and not is_file
    if is_body:
        if charset == charsets.UTF_8:
            octets = octets.removeprefix(_BYTE_ORDER_MARK.encode())
        octets = transfer_encoding.normalize_newlines(octets)
    if encoding is None:
        encoding = transfer_encoding.choose(octets, textual=is_body)
    return Content(kind, octets, charset, encoding)


def _of_message(octets: bytes, wanted: Wanted) -> Content:
    kind, is_guessed, charset, encoding, _ = wanted
    lines = transfer_encoding.normalize_newlines(octets)
    if transfer_encoding.fits(lines, "8bit") and (kind != content_types.MESSAGE or _FIELD.match(lines)):
        if encoding is None:
            encoding = "7bit" if lines.isascii() else "8bit"
        return Content(kind, lines, charset, encoding)
    if is_guessed:
        return Content(content_types.OCTETS, octets, charset, "base64" if encoding is None else encoding)
    problem = "the content does not begin with a header field, or has NULs or lines over 998 octets"
    raise invalid("content_type", f"this is no {kind}: {problem}", f"send it as {content_types.OCTETS}")


def piece(text: _Text, start: int, end: int | None) -> _Text:
    """Return the characters, or octets, from `start` up to `end`.

    Raises:
        InvalidLetter: there is no such place in the text.
    """
    if start == 0 and end is None:
        return text
    stop = len(text) if end is None else end
    for name, bound in (("start", start), ("end", stop)):
        if not isinstance(bound, int) or isinstance(bound, bool) or not 0 <= bound <= len(text):
            raise invalid(name, f"{bound!r} is no place in a text of {len(text)}", f"give 0 to {len(text)}")
    if start > stop:
        raise invalid("start", f"{start} lies behind the end, {stop}", "exchange them")
    return text[start:stop]
