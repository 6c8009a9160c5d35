"""Reading on in streams, as something comes to them.

They are asked again and again: on a cluster nothing waits for several at once, and nowhere longer than the connection's
own timeout, which is a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from postroom import clock
from postroom.ledger.availability import available
from postroom.ledger.transitions import Ledger

Places = Mapping[str, str]
"""How far each stream was read: the id of an entry, by the stream's key."""

BEGINNING = "0-0"
_AT_ONCE = 500
_LOOK_S = 0.2


def read_on(ledger: Ledger, places: Places, wait_ms: int) -> dict[str, list[Any]]:
    """Return the new entries of each stream that has some, at most 500 of each.

    Args:
        ledger: where they are.
        places: how far each was read.
        wait_ms: how long to wait for something to come; then there are none.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    until_s = clock.steady_s() + wait_ms / 1000
    while True:
        with available():
            pipeline: Any = ledger.redis.pipeline(transaction=False)
            for key, place in places.items():
                pipeline.xrange(key, f"({place}", count=_AT_ONCE)
            found = {key: entries for key, entries in zip(places, pipeline.execute(), strict=True) if entries}
        left_s = until_s - clock.steady_s()
        if found or left_s <= 0:
            return found
        clock.pause(min(_LOOK_S, left_s))
