"""A letter is forgotten, and the answer to that is lost: the octets kept beside it are removed all the same."""

from __future__ import annotations

from typing import Any

from cluster import all_keys
from house import desk
from postroom import LetterState, operate
from postroom.ledger.connection import FOREVER_MS
from postroom.ledger.scripts import Scripts


class LosingAnswers(Scripts):
    """Runs every script twice, as redis-py does when the first answer is lost."""

    def _round_trip(self, *batches: Any, **how: Any) -> list[Any]:
        super()._round_trip(*batches, **how)
        return super()._round_trip(*batches, **how)


def test_a_letter_leaves_no_contents_behind_when_answers_are_lost(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_CONTENTS_OVER="10") as here:
        receipt = here.accept("ann@example.com", attachments=[("a.bin", bytes(1000))])
        stream = here.ledger.keys.events(here.ledger.keys.partition(receipt.id))
        operate.cancel(here.ledger, receipt.id)
        here.ledger.scripts = LosingAnswers(here.ledger.redis)
        assert here.ledger.forget(receipt.id, LetterState.CANCELLED, early_ms=FOREVER_MS)
        assert all_keys(here.ledger.redis, "postroom:{*") == [stream.encode()], "but the stream of events"
