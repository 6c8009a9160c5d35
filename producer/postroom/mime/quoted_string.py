"""Quoted strings (RFC 5322 §3.2.4), as far as all readers agree about them."""

from __future__ import annotations

import re

# Single blanks inside: readers differ about other white space.
_AGREED = re.compile(r"(?:[!-~]++(?: [!-~]++)*+)?")
_TO_ESCAPE = re.compile(r'["\\]')


def quoted_string(text: str) -> str:
    """Return `text` as a quoted string; empty if it must be written in another way.

    That is: if it is not printable ASCII, has white space at an end or in a row, or holds ``=?``, for many readers
    decode encoded words in a quoted string, which RFC 2047 §5 (3) forbids.
    """
    if "=?" in text or not _AGREED.fullmatch(text):
        return ""
    return f'"{_TO_ESCAPE.sub(_escaped, text)}"'


def _escaped(character: re.Match[str]) -> str:
    return f"\\{character[0]}"
