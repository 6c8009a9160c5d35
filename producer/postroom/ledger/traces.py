"""Traces: somebody follows what is said with a relay, and the workers tell it for so long.

Who traces says so again and again; if that ends, so does the telling. What is told goes to a capped stream that is
forgotten soon after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from postroom.ledger import streams
from postroom.ledger.availability import available
from postroom.ledger.keys import Keys
from postroom.ledger.record import text
from postroom.ledger.transitions import Ledger

_LINES_KEPT = 5_000
_KEPT_MS = 60_000


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody traces a relay."""

    relay: str
    until_ms: int
    has_addresses: bool = False
    """Whether to tell addresses, too."""


def ask(ledger: Ledger, relay: str, for_ms: int, *, has_addresses: bool) -> None:
    """Ask all workers to tell what is said with a relay.

    Args:
        ledger: where they look.
        relay: its name.
        for_ms: for how long; asking again prolongs it.
        has_addresses: whether addresses are told, too.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    trace = Trace(relay=relay, until_ms=ledger.now_ms() + for_ms, has_addresses=has_addresses)
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        pipeline.hset(Keys.traces(), relay, msgspec.json.encode(trace))
        pipeline.pexpire(Keys.traces(), _KEPT_MS)
        pipeline.execute()


def end(ledger: Ledger, relay: str) -> None:
    """Ask for it no longer.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        ledger.redis.hdel(Keys.traces(), relay)


def asked_for(ledger: Ledger) -> tuple[list[Trace], int]:
    """Return the traces that are asked for, and Redis's time, in one round trip.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available(), ledger.scripts.mending([Keys.traces()]):
        pipeline = ledger.redis.pipeline(transaction=False)
        pipeline.hvals(Keys.traces())
        pipeline.time()
        kept, (seconds, micros) = pipeline.execute()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    found = [msgspec.json.decode(each, type=Trace) for each in kept]
    return [each for each in found if each.until_ms > now_ms], now_ms


def tell(ledger: Ledger, relay: str, session: str, lines: Sequence[str]) -> None:
    """Tell what was said in a session with a relay.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    key = ledger.keys.relay_trace(relay)
    with available(), ledger.scripts.mending([key]):
        pipeline = ledger.redis.pipeline(transaction=False)
        for line in lines:
            pipeline.xadd(key, {"session": session, "line": line}, maxlen=_LINES_KEPT)
        pipeline.pexpire(key, _KEPT_MS)
        pipeline.execute()


def place(ledger: Ledger, relay: str) -> str:
    """Return the place behind everything that was told of a relay so far.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        entries: Any = ledger.redis.xrevrange(ledger.keys.relay_trace(relay), count=1)
    return text(entries[0][0]) if entries else streams.BEGINNING


def read_on(ledger: Ledger, relay: str, place: str, wait_ms: int) -> tuple[list[tuple[str, str]], str]:
    """Return what was told since: session and line of each; and the place to read on from.

    Args:
        ledger: where it is.
        relay: its name.
        place: how far it was read.
        wait_ms: how long to wait for something to be said.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    key = ledger.keys.relay_trace(relay)
    entries = streams.read_on(ledger, {key: place}, wait_ms).get(key, [])
    told = [(text(fields[b"session"]), text(fields[b"line"])) for _, fields in entries]
    return told, text(entries[-1][0]) if entries else place
