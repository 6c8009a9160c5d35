"""Folding: a header field over several lines (RFC 5322 §2.2.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

LINE = 76
"""Octets of a line without its CRLF. RFC 5322 §2.1.1 asks for 78 at most, RFC 2047 §2 for 76 where encoded words are:
the smaller serves both."""

LONGEST_LINE = 998
"""Octets that no line may exceed (RFC 5322 §2.1.1)."""

_UNIT = re.compile(r"[ \t]*[^ \t]+")


def units(text: str) -> list[str]:
    """Return the words of `text`, each with the white space before it. White space at the end is lost."""
    return _UNIT.findall(text)


def room_left(head: str) -> int:
    """Return how many characters the last line of `head` has room for."""
    return LINE - (len(head) - head.rfind("\n") - 1)


def fold(head: str, pieces: Iterable[str]) -> str:
    """Return `head` with the pieces appended, each on the current line where it fits and on the next where not.

    Args:
        head: what is written already: the field's name and colon, or a field folded so far.
        pieces: each begins with white space and holds more than white space, so that no line is blank.
    """
    room = room_left(head)
    out = [head]
    for piece in pieces:
        if len(piece) > room:
            out.append("\r\n")
            room = LINE
        out.append(piece)
        room -= len(piece)
    return "".join(out)


def fold_words(head: str, text: str) -> str:
    """Return `head` with a blank and the words of `text` appended, folded at the white space between them."""
    if not text:
        return head
    return f"{head} {text}" if len(text) < room_left(head) else fold(head, units(f" {text}"))


def fold_list(name: str, items: Sequence[str], separator: str) -> str:
    """Return the field of the items with `separator` and a blank between them, without its CRLF.

    An item stays whole where a line has room for it; else it is folded at its own white space.
    """
    line = f"{name}: {f'{separator} '.join(items)}"
    return line if len(line) <= LINE else fold(f"{name}:", _pieces(items, separator))


def _pieces(items: Sequence[str], separator: str) -> Iterator[str]:
    *leading, last = items
    for piece in (*(f" {item}{separator}" for item in leading), f" {last}"):
        if len(piece) <= LINE:
            yield piece
        else:
            yield from units(piece)
