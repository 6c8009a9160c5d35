"""Letter ids: sortable by time, safe in keys and headers; or derived from an idempotency key."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache

from postroom.errors import invalid

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_PAIRS = tuple(first + second for first in _DIGITS for second in _DIGITS)
_RANDOM_BITS = 80
_SHIFTS = range(_RANDOM_BITS - 10, -1, -10)


def new_id(now_ms: int) -> str:
    """Return a new id of 26 characters: 48 bits of time in milliseconds, then 80 random ones.

    Ids of later milliseconds sort behind; within one millisecond the order is by chance.
    """
    number = int.from_bytes(os.urandom(_RANDOM_BITS // 8), "big")
    return _time(now_ms) + "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


@lru_cache(maxsize=4)
def _time(now_ms: int) -> str:
    return "".join([_PAIRS[(now_ms >> shift) & 1023] for shift in range(40, -1, -10)])


def id_of_key(idempotency_key: str) -> str:
    """Return the id that belongs to an idempotency key: the same key gives the same letter, on any machine."""
    return "key-" + hashlib.blake2b(idempotency_key.encode(), digest_size=16).hexdigest()


def check_id(letter_id: str, field: str = "id") -> str:
    """Return the id if it can stand in a key.

    Raises:
        InvalidLetter: it holds anything but letters, digits, ``-`` and ``_``, or is longer than 64 characters.
    """
    if not isinstance(letter_id, str) or not _ID.fullmatch(letter_id):
        raise invalid(
            field, f"{str(letter_id)[:80]!r} is no letter id", "use 1 to 64 ASCII letters, digits, '-' and '_'"
        )
    return letter_id
