"""What every look at the schedule does for many letters costs a few round trips, whatever partitions they are in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cluster import all_keys
from postroom import LedgerUnavailable, LetterState
from postroom.ledger import Ledger, NewLetter, Recipient, views
from postroom.ledger.contents import Contents
from postroom.ledger.orphans import drop_orphans
from postroom.ledger.transitions import Times
from postroom_worker.dev.server import server

HOUR_MS = 3_600_000
TIMES = Times(lease_ms=0, bell_ms=HOUR_MS, keep_sent_ms=0, keep_failed_ms=0, uncertain_max=3, deaths_max=5)
ANN = Recipient("ann@example.com")
IDS = [f"L{number}" for number in range(64)]
SHARED, OWN = b"of many letters", b"of one letter"
SHARED_SHA256, OWN_SHA256 = (hashlib.sha256(each).hexdigest() for each in (SHARED, OWN))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of 16 partitions, on a server that nobody else asks anything."""
    with server(tmp_path, "--appendonly", "no") as running, Redis.from_url(running.url) as redis:
        yield Ledger(redis, TIMES, 16)


def accept(ledger: Ledger, state: LetterState, kept: dict[str, dict[str, bytes]] | None = None) -> None:
    kept = kept or {}
    ledger.contents.keep_all(kept)
    letters = [
        NewLetter(
            id=each,
            letter=b"{}",
            digest="d",
            recipients=[ANN],
            state=state,
            due_ms=1,
            give_up_in_ms=HOUR_MS,
            queue="postroom",
            contents=list(kept.get(each, ())),
        )
        for each in IDS
    ]
    assert ledger.accept_all(letters) == ["accepted"] * len(IDS)
    assert len({ledger.keys.partition(each) for each in IDS}) == 16


def cancel(ledger: Ledger, letter_id: str) -> None:
    """Its retention is over at once, then."""
    asked = {"recipients": [ANN], "event": {"event": "cancelled"}, "seen_recipients": [ANN]}
    how: dict[str, Any] = asked | {"seen": LetterState.QUEUED, "state": LetterState.CANCELLED}
    assert ledger.operate(letter_id, **how) == "done"


def asked(ledger: Ledger) -> int:
    """How often the server has read from its connections: once a round trip, unless it is a long one."""
    statistics: Any = ledger.redis.info("stats")
    return int(statistics["total_reads_processed"])


def test_what_is_due_is_released_in_one_round_trip_for_all_partitions(ledger: Ledger) -> None:
    accept(ledger, LetterState.SCHEDULED)
    first = ledger.release_due(1)
    before = asked(ledger)
    others = ledger.release_due(100)
    assert asked(ledger) - before < 8
    assert [len(first), len(others)] == [16, 48]
    assert {each.letter_id for each in first + others} == set(IDS)
    assert views.counts(ledger)[LetterState.QUEUED] == len(IDS)


def test_what_is_over_is_forgotten_in_few_round_trips_with_what_was_kept_for_it(ledger: Ledger) -> None:
    accept(ledger, LetterState.QUEUED, {each: {SHARED_SHA256: SHARED} for each in IDS[1:]} | {"L1": {OWN_SHA256: OWN}})
    *over, again = IDS
    for each in over:
        cancel(ledger, each)
    assert ledger.forget_due(1) == 16, "of each partition one"
    before = asked(ledger)
    assert ledger.forget_due(100) == len(over) - 16
    assert asked(ledger) - before < 12
    assert ledger.contents.read(SHARED_SHA256) == SHARED, "one letter still needs it"
    with pytest.raises(ValueError, match="are not in the ledger"):
        ledger.contents.read(OWN_SHA256)
    cancel(ledger, again)
    assert ledger.forget_due(100) == 1
    assert all_keys(ledger.redis, "postroom:{*") + all_keys(ledger.redis, ledger.keys.kept()) == []


class Dying(Contents):
    """Of a worker that dies before it drops any contents."""

    def drop_all(self, *_: Any) -> None:
        """Drop nothing."""
        raise LedgerUnavailable("it is dead")


def test_contents_do_not_stay_for_ever_when_a_worker_dies_while_it_forgets(ledger: Ledger) -> None:
    accept(ledger, LetterState.QUEUED, {"L0": {SHARED_SHA256: SHARED}})
    assert drop_orphans(ledger, 10, after_ms=0) == 0, "a day later, the letter needs them"
    cancel(ledger, "L0")
    alive, ledger.contents = ledger.contents, Dying(ledger.scripts, ledger.keys, ledger.room)
    with pytest.raises(LedgerUnavailable):
        ledger.forget_due(10)
    ledger.contents = alive
    assert ledger.contents.read(SHARED_SHA256) == SHARED
    assert drop_orphans(ledger, 10, after_ms=0) == 1
    with pytest.raises(ValueError, match="are not in the ledger"):
        ledger.contents.read(SHARED_SHA256)


def test_the_others_are_forgotten_although_a_letter_was_overwritten(ledger: Ledger) -> None:
    accept(ledger, LetterState.QUEUED)
    for each in IDS:
        cancel(ledger, each)
    ledger.redis.set(ledger.keys.letter("L0"), "somebody else's")
    with pytest.raises(LedgerUnavailable):
        ledger.forget_due(100)
    assert ledger.forget_due(100) == len(IDS), "it was put aside"


def test_a_full_redis_forgets(ledger: Ledger) -> None:
    accept(ledger, LetterState.QUEUED, {"L0": {SHARED_SHA256: SHARED}})
    cancel(ledger, "L0")
    ledger.redis.config_set("maxmemory", 1)
    assert ledger.forget_due(10) == 1
    ledger.redis.config_set("maxmemory", 0)
    with pytest.raises(ValueError, match="are not in the ledger"):
        ledger.contents.read(SHARED_SHA256)
