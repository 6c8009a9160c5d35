"""Charsets of MIME text (RFC 2045 §2.2, RFC 2046 §4.1.2, RFC 2978).

Python has many codecs that are no charset (``rot13``, ``zlib``, ``unicode_escape``, ``punycode``), and charsets
that text in mail may not have: ``utf-7``; ``utf-8-sig``, because the label already says what a byte order mark
would; ``utf-16`` and ``utf-32``, because a line of text ends with the octets 13 and 10 (RFC 2046 §4.1.1, RFC 2781
§3.3). So what may be used is a list: every charset here writes a line end as those two octets, and nothing else
with them.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from postroom.errors import InvalidLetter, invalid

UTF_8: Final = "utf-8"

_MIME_NAMES: Final[Mapping[str, str]] = {
    "ascii": "us-ascii",
    "utf-8": UTF_8,
    **{f"iso8859-{part}": f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    **{f"cp{page}": f"windows-{page}" for page in (874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)},
    **{f"cp{page}": f"ibm{page}" for page in (437, 775, 850, 852, 855, 857, 860, 861, 862, 863, 865, 866, 869)},
    "cp858": "ibm00858",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "kz1048": "kz-1048",
    "ptcp154": "ptcp154",
    "tis-620": "tis-620",
    "mac-roman": "macintosh",
    "hp-roman8": "hp-roman8",
    "iso2022_jp": "iso-2022-jp",
    "iso2022_jp_2": "iso-2022-jp-2",
    "iso2022_kr": "iso-2022-kr",
    "shift_jis": "shift_jis",
    "cp932": "windows-31j",
    "euc_jp": "euc-jp",
    "euc_kr": "euc-kr",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "hz": "hz-gb-2312",
    "big5": "big5",
    "big5hkscs": "big5-hkscs",
}
"""Python's codec → the preferred MIME name of the IANA registry."""

_UNKNOWN_TO_PYTHON: Final[Mapping[str, str]] = {
    "windows-874": "cp874",
    "windows-31j": "cp932",
    "ibm00858": "cp858",
    # These say more than their codec does: in which order the letters are kept (RFC 1556).
    "iso-8859-6-e": "iso8859-6",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-8-i": "iso8859-8",
}
"""MIME names that Python does not know → its codec."""

_INEXACT: Final = frozenset(
    {"shift_jis", "windows-31j", "euc-jp", "euc-kr", "iso-2022-jp", "iso-2022-jp-2", "iso-2022-kr"}
)
"""Measured over all code points: their codecs write some characters as others (``¥`` as ``\\``), or write
control characters of the text that switch the decoder's state."""

_BLOCK: Final = 65_536

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,39}", re.ASCII)


def codec_of(charset: str, field: str) -> tuple[str, codecs.CodecInfo]:
    """Return the MIME name of a charset, in lower case, and Python's codec for it.

    Args:
        charset: a MIME name, one of its registered aliases, or Python's name: ``utf-8``, ``latin1``, ``cp1252``.
        field: the name that an error gives.

    Raises:
        InvalidLetter: it is no charset of MIME text, or none that Python knows.
    """
    try:
        return _find(charset)
    except (LookupError, TypeError):
        remedy = f"use {UTF_8!r}"
        raise invalid(field, f"{str(charset)[:40]!r} is no charset that mail text can be in", remedy) from None


@lru_cache(maxsize=256)
def _find(charset: str) -> tuple[str, codecs.CodecInfo]:
    if not _NAME.fullmatch(charset):
        raise LookupError
    if codec_name := _UNKNOWN_TO_PYTHON.get(charset.lower()):
        return charset.lower(), codecs.lookup(codec_name)
    codec = codecs.lookup(charset)
    return _MIME_NAMES[codec.name], codec


def encode(text: str, charset: str, field: str) -> bytes:
    """Return the octets of a text.

    Args:
        text: any text without lone surrogates.
        charset: as for `codec_of`.
        field: the name that an error gives.

    Raises:
        InvalidLetter: the charset is unknown, or cannot hold the text; the error names the first character
            that it cannot hold, and its index. Nothing is ever replaced by a question mark.
    """
    name, codec = codec_of(charset, field)
    try:
        octets, _ = codec.encode(text)
    except UnicodeEncodeError as error:
        raise _unencodable(text, error.start, name, field) from None
    if name in _INEXACT and (index := _first_difference(text, octets, codec)) is not None:
        raise _unencodable(text, index, name, field)
    return octets


def holds(octets: bytes, charset: str, field: str) -> bool:
    """Say whether octets are text in the charset. Needs memory for a block of them only."""
    _, codec = codec_of(charset, field)
    if codec.name == "utf-8" and octets.isascii():
        return True
    try:
        if len(octets) <= _BLOCK:
            codec.decode(octets)
            return True
        decoder = codec.incrementaldecoder()
        view = memoryview(octets)
        for start in range(0, len(octets), _BLOCK):
            decoder.decode(view[start : start + _BLOCK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _first_difference(text: str, octets: bytes, codec: codecs.CodecInfo) -> int | None:
    read, _ = codec.decode(octets, "replace")
    if read == text:
        return None
    return next((i for i, (ours, theirs) in enumerate(zip(text, read, strict=False)) if ours != theirs), len(read))


def _unencodable(text: str, index: int, charset: str, field: str) -> InvalidLetter:
    index = min(index, len(text) - 1)
    character = text[index]
    code = f"U+{ord(character):04X}"
    if "\ud800" <= character <= "\udfff":
        return invalid(field, f"the character at index {index} is half a surrogate pair, {code}", "mend the text")
    name = unicodedata.name(character, "a character without a name")
    return invalid(
        field,
        f"{charset} cannot hold the character at index {index}, {code} {name}",
        f"use another charset, such as {UTF_8!r}",
    )
