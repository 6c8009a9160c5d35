"""Redis's clock went back: what was due in a minute would be due in an hour and a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from postroom.ledger.availability import available
from postroom.ledger.transitions import Ledger
from postroom.states import LetterState

_MARGIN_MS = 1000


def shorten_waits(ledger: Ledger, longest_ms: Mapping[LetterState, int], limit: int) -> int:
    """Let letters wait the longest that their state ever waits, from now on; returns how many waited longer.

    No clock that goes right makes a letter wait longer: so the clock has gone back since it began to wait.

    Args:
        ledger: where they wait.
        longest_ms: how long a letter may wait, by state.
        limit: letters of each state and partition, at most.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    shortened = 0
    now_ms = ledger.now_ms()
    with available():
        for state, wait_ms in longest_ms.items():
            until_ms = now_ms + wait_ms
            for partition in range(ledger.keys.partitions):
                index = ledger.keys.index(state, partition)
                after_ms = f"({until_ms + _MARGIN_MS}"
                found = ledger.redis.zrange(index, after_ms, "+inf", byscore=True, offset=0, num=limit)
                ids = cast("list[bytes]", found)
                if ids:
                    # Only of those that still wait there, and never later: so it needs no script.
                    answer = ledger.redis.zadd(index, dict.fromkeys(ids, until_ms), xx=True, lt=True, ch=True)
                    shortened += cast("int", answer)
    return shortened
