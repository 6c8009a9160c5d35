"""Parameters of Content-Type and Content-Disposition (RFC 2045 §5.1), in any script and length (RFC 2231)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote

from postroom.errors import invalid
from postroom.mime.folding import LINE
from postroom.mime.quoted_string import quoted_string

FILE_NAMES = frozenset({"filename", "name"})
"""Parameters that people read."""

_ROOM = LINE - len(" ;")
_LONGEST_TOKEN = 127  # RFC 6838 §4.2, of a type or a subtype
_LONGEST_ATTRIBUTE = 40  # leaves a continuation room for more than one character
_LONGEST_PLAIN = 900
_LONGEST_LIKENESS = 50
_LONGEST_EXTENSION = 10

_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]++")
_ATTRIBUTE = re.compile(r"[!#$&+\-.0-9A-Z^-~]++")
_CHARACTER = re.compile(r"[^%]|%[0-7C-F].(?:%[89AB].)*")
_UNLIKE = re.compile(r"[^ !#$&'()+,\-.0-9;=?@A-Z\[\]^_`a-z{}~]+")
_BLANKS = re.compile(" +")


def check_token(text: str, field: str) -> str:
    """Return `text` if it is a token: a media type or subtype, a charset, a disposition, a transfer encoding.

    Raises:
        InvalidLetter: it is empty, too long, or has other characters than RFC 2045 §5.1 allows.
    """
    if len(text) > _LONGEST_TOKEN or not _TOKEN.fullmatch(text):
        raise invalid(field, f"{text[:40]!r} is no token", "use ASCII letters, digits and hyphens")
    return text


def check_attribute(text: str, field: str) -> str:
    """Return `text` if it can name a parameter: a token without ``*``, ``'`` and ``%``, which RFC 2231 gives a meaning.

    Raises:
        InvalidLetter: it is empty, over 40 characters, or has other characters.
    """
    if len(text) > _LONGEST_ATTRIBUTE or not _ATTRIBUTE.fullmatch(text):
        raise invalid(
            field, f"{text[:40]!r} is no name of a parameter", "use ASCII letters, digits and hyphens, 40 at most"
        )
    return text


@lru_cache(maxsize=256)
def spell(attribute: str, value: str) -> tuple[str, ...]:
    """Return a parameter as it stands in the field, in one piece or, of a long one, in several (RFC 2231 §3).

    A file name that only readers of RFC 2231 understand is followed by a likeness of it in ASCII for the others. It
    stands last, because readers that know both forms take the first (measured: Python's `email.policy.default`), or
    the extended one wherever it stands.

    Args:
        attribute: passed `check_attribute`.
        value: text without line ends, NUL and lone surrogates.
    """
    plain = _plain(attribute, value)
    people_read_it = attribute.lower() in FILE_NAMES
    # What only programs read stays in the form that all of them understand, even where it exceeds a line. With a blank
    # it would be folded there, and some keep the line end in the value.
    programs_read_it = not people_read_it and " " not in plain and len(plain) <= _LONGEST_PLAIN
    if plain and (len(plain) <= _ROOM or programs_read_it):
        return (plain,)
    fallback = (_plain(attribute, _likeness(value)),) if people_read_it else ()
    return (*_extended(attribute, value), *fallback)


def _plain(attribute: str, value: str) -> str:
    """Return the parameter as token or quoted string; empty if it is neither."""
    # A token with an apostrophe is quoted too: some readers take it for the charset of an extended value.
    spelled = value if _ATTRIBUTE.fullmatch(value) else quoted_string(value)
    return f"{attribute}={spelled}" if spelled else ""


def _extended(attribute: str, value: str) -> list[str]:
    octets = quote(value, safe="!#$&+-.^_`|~")
    whole = f"{attribute}*=utf-8''{octets}"
    if len(whole) <= _ROOM:
        return [whole]
    pieces = []
    piece = f"{attribute}*0*=utf-8''"
    # A section ends with a complete character, because some readers decode each by itself.
    for character in _CHARACTER.findall(octets):
        if len(piece) + len(character) > _ROOM:
            pieces.append(piece)
            piece = f"{attribute}*{len(pieces)}*="
        piece += character
    return [*pieces, piece]


def _likeness(value: str) -> str:
    """Return a file name in ASCII that resembles `value` and has its extension; it is never another path."""
    # Both ends are enough; and to order the marks of a long text takes the square of its length (measured).
    if len(value) > 4 * _LONGEST_LIKENESS:
        value = value[: 2 * _LONGEST_LIKENESS] + value[-2 * _LONGEST_LIKENESS :]
    # NFD, not NFKD: a full-width solidus must not become a separator, nor a full-width stop begin an extension.
    letters = "".join(c for c in unicodedata.normalize("NFD", value) if not unicodedata.combining(c))
    name = _BLANKS.sub(" ", _UNLIKE.sub("_", letters)).replace("=?", "_").strip(" ")
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > _LONGEST_EXTENSION:
        # Cut short, it must not end in what looks like an extension.
        return name[:_LONGEST_LIKENESS].strip(" ").replace(".", "_") or "_"
    return f"{stem[: _LONGEST_LIKENESS - len(extension)].strip(' ')}.{extension}"
