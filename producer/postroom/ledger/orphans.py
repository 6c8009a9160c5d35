"""Contents that were kept for a letter that never came: its sender died, or was told that its id is taken."""

from __future__ import annotations

from typing import cast

from postroom.ledger.availability import available
from postroom.ledger.record import text
from postroom.ledger.transitions import Ledger

_AFTER_MS = 86_400_000
"""What was kept is the letter's first step: a day later it is there, or will never be."""


def drop_orphans(ledger: Ledger, limit: int, after_ms: int = _AFTER_MS) -> int:
    """Drop contents that no letter needs; returns for how many letters.

    Args:
        ledger: where they are kept.
        limit: letters, at most.
        after_ms: how long ago they were kept, at least.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    orphaned = 0
    redis, key = ledger.redis, ledger.keys.kept()
    until_ms = ledger.now_ms() - after_ms
    with available(), ledger.scripts.mending([key]):
        found = cast("list[bytes]", redis.zrange(key, "-inf", until_ms, byscore=True, offset=0, num=limit))
        for noted in found:
            letter_id, *sha256s = text(noted).split()
            needed = text(redis.hget(ledger.keys.letter(letter_id), "contents")).split()
            unneeded = [each for each in sha256s if each not in needed]
            ledger.contents.drop(letter_id, unneeded)
            redis.zrem(key, noted)
            orphaned += bool(unneeded)
    return orphaned
