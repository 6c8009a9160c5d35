"""Content transfer encodings (RFC 2045 §6): how octets travel as lines of text.

Four are spoken here: ``7bit``, ``8bit``, ``quoted-printable`` and ``base64``. ``binary`` is not, since a relay
that takes it (RFC 3030 BINARYMIME) is rare and the next hop need not.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from io import BytesIO
from struct import Struct
from typing import Final, Literal

Encoding = Literal["7bit", "8bit", "quoted-printable", "base64"]

ENCODINGS: Final[frozenset[str]] = frozenset({"7bit", "8bit", "quoted-printable", "base64"})

LONGEST_LINE: Final = 998
"""Octets that a line may have beside its CRLF (RFC 5322 §2.1.1)."""

_COLUMNS: Final = 76
_BLOCK: Final = 1024 * _COLUMNS // 4 * 3
"""Octets that make 1,024 lines of base64."""

_NO_NEWLINE: Final = bytes(range(256)).translate(None, b"\r\n")
_NO_BASE64: Final = re.sub(rb"[A-Za-z0-9+/]", b"", bytes(range(256)))
_QP_ESCAPED: Final = bytes(range(256)).translate(None, b"\t\r\n " + bytes(range(33, 127)).replace(b"=", b""))
_QP_SAFE: Final = bytes(range(256)).translate(None, _QP_ESCAPED)
_QP_COLUMNS: Final = _COLUMNS - 1
_QP_MANGLED: Final = (
    (b"\n.", b"\n=2E"),
    (b"\nFrom ", b"\n=46rom "),
    (b"." * 32, b"." * 31 + b"=2E"),  # so that every long line can be broken before something else than a dot
)
_QP_EDGES: Final = (b"\n.", b"\nFrom ", b" \r", b"\t\r", b"." * 32)
"""What is escaped because of its place."""
_QP_PIECE: Final = re.compile(rb".{1,%d}(?<!=)(?<!=.)(?!\.|From )" % _QP_COLUMNS)
"""As much of a line as fits before a soft line break, and never a part of an escape."""
_QP_KEPT: Final = 32 * 1024
"""Octets of a text that is kept encoded: the letters of a campaign often share theirs."""


def has_canonical_newlines(octets: bytes) -> bool:
    """Say whether CR and LF occur only as CRLF."""
    return len(octets.translate(None, _NO_NEWLINE)) == 2 * octets.count(b"\r\n")


def normalize_newlines(octets: bytes) -> bytes:
    """Return text with every bare CR and bare LF made CRLF; nothing else ever ends a line (RFC 2046 §4.1.1)."""
    if b"\r" in octets:
        if has_canonical_newlines(octets):
            return octets
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return octets.replace(b"\n", b"\r\n")


def fits(octets: bytes, encoding: str) -> bool:
    """Say whether octets can travel in this encoding: 7bit and 8bit leave them bare (RFC 2045 §2.7, §2.8)."""
    if encoding == "7bit" and not octets.isascii():
        return False
    return encoding not in ("7bit", "8bit") or (has_canonical_newlines(octets) and _has_only_short_lines(octets))


def choose(octets: bytes, textual: bool, *, is_canonical: bool | None = None) -> Encoding:
    """Return the encoding that serves these octets best.

    Text travels bare, as 7bit, where it can; else in the shorter of quoted-printable and base64.
    Octets that are no text travel as base64: relays and clients may see to the line ends of the others.

    Args:
        octets: what is to be sent; text with CRLF line ends.
        textual: whether it is text.
        is_canonical: what `has_canonical_newlines` says of it, where that is known.
    """
    if not textual:
        return "base64"
    if is_canonical is None:
        is_canonical = has_canonical_newlines(octets)
    if is_canonical and octets.isascii() and _has_only_short_lines(octets):
        return "7bit"
    return "quoted-printable" if _is_quoted_printable_shorter(octets, is_canonical) else "base64"


def encode(octets: bytes, encoding: str) -> bytes:
    """Return octets as they travel: CRLF between lines, none added after the last.

    Quoted-printable keeps a line ≤ 75 octets, so that a final ``=`` always has room; it also hides what some
    systems would change at the start of a line: a dot, and ``From``.

    Args:
        octets: the content; for 7bit and 8bit such as `fits`.
        encoding: one of `ENCODINGS`.
    """
    if encoding == "base64":
        # Measured: half as fast again as joining a list, whose result is written to fresh memory at once.
        buffer = BytesIO()
        buffer.writelines(_base64_pieces(octets))
        return buffer.getvalue()
    if encoding == "quoted-printable":
        return _kept_quoted_printable(octets) if len(octets) <= _QP_KEPT else _quoted_printable(octets)
    return octets


def encode_in_pieces(octets: bytes, encoding: str) -> tuple[bytes, ...]:
    """Return what `encode` does in pieces to be joined: of base64 1,024 lines each, so that all is in memory once."""
    return tuple(_base64_pieces(octets)) if encoding == "base64" else (encode(octets, encoding),)


def decode(encoded: bytes, encoding: str) -> bytes:
    """Return the octets that were encoded; lenient to what is no base64 or quoted-printable (RFC 2045 §6.7, §6.8)."""
    if encoding == "base64":
        digits = encoded.translate(None, _NO_BASE64)
        return binascii.a2b_base64(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")
    if encoding == "quoted-printable":
        return binascii.a2b_qp(encoded)
    return encoded


def _base64_pieces(octets: bytes) -> Iterator[bytes]:
    view = memoryview(octets)
    for start in range(0, len(octets), _BLOCK):
        encoded = binascii.b2a_base64(view[start : start + _BLOCK], newline=False)
        full = (len(encoded) - 1) // _COLUMNS
        end = () if start + _BLOCK >= len(octets) else (b"",)
        yield b"\r\n".join((*_cutter(full)(encoded), encoded[full * _COLUMNS :], *end))


@lru_cache(maxsize=32)
def _cutter(lines: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Return what cuts so many lines off the start of base64.

    Measured: in one call of a struct that costs little beside the base64 itself. A slice a line makes all of it take
    five times as long, and b2a_base64 line by line three times.
    """
    return Struct(f"{_COLUMNS}s" * lines).unpack_from


def _has_only_short_lines(octets: bytes) -> bool:
    if b"\0" in octets:
        return False
    start, end = 0, len(octets)
    while end - start > LONGEST_LINE:
        newline = octets.rfind(b"\n", start, start + LONGEST_LINE + 2)
        if newline < 0:
            return False
        start = newline + 1
    return True


def _is_quoted_printable_shorter(octets: bytes, is_canonical: bool) -> bool:
    escaped = len(octets.translate(None, _QP_SAFE))
    if not is_canonical:
        escaped += octets.count(b"\r") + octets.count(b"\n")
    least = len(octets) + 2 * escaped
    base64 = (len(octets) + 2) // 3 * 4
    base64 += (base64 - 1) // _COLUMNS * 2
    if least >= base64:
        return False
    # A soft line break takes 3 octets for every 70 of a line, and a line's first and last character 2 if escaped.
    most = least + 5 * (least // 70)
    if most + 4 * (octets.count(b"\n") + 1) < base64:
        return True
    edges = sum([octets.count(edge) for edge in _QP_EDGES]) if is_canonical else len(octets)
    return most + 2 * (edges + 2) < base64 or len(_quoted_printable(octets)) < base64


def _quoted_printable(octets: bytes) -> bytes:
    # binascii finds what must be escaped at the speed of C, but its line breaks are no use: they end as the first
    # line of the text does, and leave no room to escape what stands at the start of a line. So lines are broken here.
    is_text = has_canonical_newlines(octets)
    plain = octets.replace(b"\r\n", b"\n") if is_text else octets
    escaped = b"\n" + binascii.b2a_qp(plain, istext=is_text).replace(b"=\r\n", b"").replace(b"=\n", b"")
    for mangled, hidden in _QP_MANGLED:
        escaped = escaped.replace(mangled, hidden)
    lines = escaped[1:].split(b"\n")
    return b"\r\n".join([b"=\r\n".join(_QP_PIECE.findall(line)) if len(line) > _QP_COLUMNS else line for line in lines])


_kept_quoted_printable = lru_cache(maxsize=16)(_quoted_printable)
