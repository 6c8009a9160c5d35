"""The claims: which letters are in hand, and with which worker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from postroom.ledger.availability import available
from postroom.ledger.record import text
from postroom.ledger.transitions import Ledger
from postroom.states import LetterState


@dataclass(frozen=True, slots=True)
class InHand:
    """A letter that a worker has claimed."""

    letter_id: str
    worker: str
    """The process: its machine's name and its number."""
    is_in_window: bool
    """Whether its content was sent, and the reply is awaited."""
    left_ms: int
    """Until its claim runs out, unless it is renewed; 0 when it has."""


def in_hand(ledger: Ledger, workers: Collection[str], limit: int) -> list[InHand]:
    """Return the letters that some processes have in hand; those first whose claims run out first.

    Args:
        ledger: where they are recorded.
        workers: which processes.
        limit: letters of each partition that are looked at.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    now_ms = ledger.now_ms()
    found = []
    for partition in range(ledger.keys.partitions):
        with available():
            index = ledger.keys.index(LetterState.SENDING, partition)
            claimed: Any = ledger.redis.zrange(index, 0, limit - 1, withscores=True)
            page = [(text(member), score) for member, score in claimed]
            pipeline = ledger.redis.pipeline(transaction=False)
            for letter_id, _ in page:
                pipeline.hmget(ledger.keys.letter(letter_id), "worker", "window")
            rows = pipeline.execute()
        for (letter_id, score), (worker, window) in zip(page, rows, strict=True):
            if text(worker) in workers:
                found.append(InHand(letter_id, text(worker), bool(window), max(0, int(score) - now_ms)))
    return sorted(found, key=lambda each: each.left_ms)
