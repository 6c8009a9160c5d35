"""Letters that were released, and whose bell could not be rung: they are due again at once."""

from __future__ import annotations

from collections.abc import Sequence

from postroom.ledger.availability import available
from postroom.ledger.scripts import Call
from postroom.ledger.transitions import Ledger
from postroom.states import LetterState


def put_back(ledger: Ledger, letter_ids: Sequence[str]) -> None:
    """Make queued letters due again at once, in place of when their bell would count as lost.

    Raises:
        LedgerUnavailable: Redis is away; then they are due when their bell counts as lost.
    """
    times, keys = ledger.times, ledger.keys
    queued, held = LetterState.QUEUED, LetterState.HELD
    calls = [
        Call(
            "release",
            keys.of_letter(each, queued, queued, held),
            [each, queued, 0, times.bell_ms, times.uncertain_max, times.deaths_max],
        )
        for each in letter_ids
    ]
    with available():
        ledger.scripts.run_all(calls)
