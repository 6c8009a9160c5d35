"""What workers have counted, all of them together, since there is a ledger: a hash of numbers, one of each series.

Workers have no port to be asked at: a child that is killed would take its numbers with it, and several on a machine
would need a port each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from postroom.ledger.availability import available
from postroom.ledger.scripts import Argument, Call
from postroom.ledger.transitions import Ledger

_REMEMBERED_MS = 3_600_000

Series = tuple[str, ...]
"""The name of a metric, the values of its labels, and which of its numbers: nothing for a counter; for a histogram the
upper bound of a bucket, or `SUM_MS`."""
SUM_MS = "sum_ms"
INFINITE = "+Inf"

_series = msgspec.json.Decoder(Series)


def add(ledger: Ledger, nonce: str, numbers: Mapping[Series, int]) -> None:
    """Add to the counts, once for each nonce.

    Raises:
        LedgerUnavailable: Redis is away; they may have been added, and adding them again is safe.
    """
    arguments: list[Argument] = [_REMEMBERED_MS]
    for series, number in numbers.items():
        arguments += [msgspec.json.encode(series), number]
    with available():
        ledger.scripts.run(Call("count", [ledger.keys.counts(), ledger.keys.counted(nonce)], arguments))


def read(ledger: Ledger) -> dict[Series, int]:
    """Return all counts.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        found: Any = ledger.redis.hgetall(ledger.keys.counts())
    return {_series.decode(series): int(number) for series, number in found.items()}
