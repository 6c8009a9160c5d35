"""A letter that kills its worker: those in its chunk go out, it goes alone, and in the end it is held."""

from __future__ import annotations

import json
import os
import signal
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import cast

from house import Desk, NewHouse, desk, end_claims
from postroom import Letter, LetterState, Receipt
from postroom.bell import Bells
from postroom.broker import BULK_QUEUE
from postroom.ledger import views
from postroom_worker.dev.scripted_relay import Session, close, only_to, scripted_relay
from postroom_worker.dev.server import wait_until
from postroom_worker.timer import tick

POISON = "poison@example.com"
OTHERS = [f"other-{number}@example.com" for number in range(30)]


def tasks(here: Desk) -> list[list[str]]:
    """Take the tasks of bulk from the queue: the ids in each."""
    found = []
    while message := cast("bytes | None", here.ledger.redis.rpop(BULK_QUEUE)):
        [ids], _, _ = json.loads(b64decode(json.loads(message)["body"]))
        found.append(ids)
    return found


def test_letters_whose_worker_died_go_alone_from_the_first_time_on_and_are_held_after_the_fifth(
    empty_redis: Callable[[], str],
) -> None:
    with desk(empty_redis(), "smtp://127.0.0.1:1", POSTROOM_LEASE_S="0", POSTROOM_BELL_S="0") as here:
        receipts = [here.accept(f"a-{number}@example.com", priority="bulk") for number in range(6)]
        in_hand, others = [each.id for each in receipts[:2]], {each.id for each in receipts[2:]}

        def look() -> list[list[str]]:
            tick(here.ledger, Bells.of(here.office.settings), 0, {}, "desk")
            return tasks(here)

        for deaths in range(1, 6):
            here.ledger.claim(in_hand, "one that dies")
            together, *alone = sorted(look(), key=len, reverse=True)
            assert set(together) == others
            assert sorted(alone) == ([[each] for each in sorted(in_hand)] if deaths < 5 else [])
        assert {each.status().state for each in receipts[:2]} == {LetterState.HELD}
        events = [each["event"] for each in views.account(here.ledger, receipts[0].id).history]
        assert receipts[0].status().reason == "its worker died 5 times"
        assert events == ["queued", *["died"] * 5, "held"]


def test_a_letter_that_kills_its_worker_is_held_and_the_others_of_its_chunk_go_out(new_house: NewHouse) -> None:
    """At first it dies in flight with others, so that all of them may be uncertain; then it goes alone."""

    dead: set[bytes] = set()

    def claimed_by(receipt: Receipt) -> bytes:
        return cast("bytes | None", here.ledger.redis.hget(here.ledger.keys.letter(receipt.id), "worker")) or b""

    def kill(session: Session) -> None:
        dead.add(worker := claimed_by(receipts[POISON]))
        os.kill(int(worker.rpartition(b":")[2]), signal.SIGKILL)
        close(session)

    def comes_to(state: LetterState, receipt: Receipt) -> bool:
        end_claims(here.ledger, *(each for each in receipts.values() if claimed_by(each) in dead))
        return receipt.status().state is state

    with scripted_relay({"rcpt": only_to(POISON, kill)}) as relay:
        settings = {"POSTROOM_DEATHS_MAX": "2", "POSTROOM_SESSIONS": "1", "POSTROOM_BELL_S": "15"}
        here = new_house(POSTROOM_RELAY_URL=relay.url, **settings)
        to = [*OTHERS[:10], POISON, *OTHERS[10:]]
        letters = [Letter(each, "hi", settings=here.postroom.settings, priority="bulk") for each in to]
        receipts = dict(zip(to, here.postroom.send_letters(letters), strict=True))
        here.worker("worker", "--concurrency=4")
        wait_until(partial(comes_to, LetterState.HELD, receipts[POISON]), "it is held")
        assert receipts[POISON].status().reason == "its worker died 2 times"
        events = here.events(receipts[POISON])
        assert [each for each in events if each != "uncertain"] == ["queued", "died", "died", "held"]
        assert events.count("uncertain") <= 1
        assert relay.accepted[POISON] == 0
        for each in OTHERS:
            wait_until(partial(comes_to, LetterState.SENT, receipts[each]), "the others are sent")
            assert 1 <= relay.accepted[each] <= 2, "what it had in hand may go out twice, and no more often"
            assert here.events(receipts[each]).count("uncertain") <= 1
