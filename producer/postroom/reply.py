"""An SMTP reply as a value (RFC 5321 §4.2), with its enhanced status code (RFC 3463) apart from its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LOCAL_PART = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^\s<>()"',;:]+)(?=@[^\s@])""")
_ADDRESS = re.compile(r"…@[^\s<>()\"',;:]+")
_BREAK = r"\s()\[\]<>,;\"'"
_OWN = re.compile(rf"(?<![^{_BREAK}])(?!\d\.\d{{1,3}}\.\d{{1,3}}(?![^{_BREAK}]))(?=[^{_BREAK}]*\d)[^{_BREAK}]{{6,}}")
"""What differs from one reply to the next: words with a digit, six characters or more, but for status codes."""
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said."""

    code: int
    """Three digits, 200 to 599; of a program in place of a server, its exit status."""
    text: str = ""
    """The lines of the reply without codes, joined with blanks; printable characters only."""
    enhanced: str = ""
    """The enhanced status code, such as ``4.7.1``; empty when there is none."""

    @classmethod
    def of(cls, code: int, lines: Sequence[str]) -> Reply:
        """Return the reply made of the lines that followed the codes.

        Each line may begin with the enhanced status code (RFC 2034 §4); it counts when its class is the code's.
        """
        enhanced = ""
        texts = []
        for line in lines:
            match = _ENHANCED.match(line)
            if match and match[1][0] == str(code)[0]:
                enhanced, line = match[1], line[match.end() :]
            texts.append(line.strip())
        return cls(code, printable(" ".join(filter(None, texts))), enhanced)

    @property
    def is_positive(self) -> bool:
        """True for 2yz."""
        return 200 <= self.code < 300

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


def printable(text: str, limit: int = 500) -> str:
    """Return text from outside, safe to print and to log: controls become escapes, and what is beyond the limit is cut.

    Args:
        text: what a server, or a caller, said.
        limit: characters kept.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def without_addresses(text: str) -> str:
    """Return what a monitor and a log may show of a reply: servers like to repeat the address they refuse."""
    return _LOCAL_PART.sub("…", text)


def gist(text: str, limit: int = 500) -> str:
    """Return what a reply has in common with others like it: without addresses, and words such as queue ids and times.

    Args:
        text: what a server said.
        limit: characters kept.
    """
    return printable(_OWN.sub("…", _ADDRESS.sub("…", without_addresses(text))), limit)
