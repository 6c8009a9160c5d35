"""A letter that kills its worker: those in its chunk go out, it goes alone, and in the end it is held."""

from __future__ import annotations

import os
import signal

from house import NewHouse
from postroom import Letter, LetterState
from postroom.ledger.record import text
from postroom_worker.dev.scripted_relay import Session, close, only_to, scripted_relay

POISON = "poison@example.com"
OTHERS = [f"other-{number}@example.com" for number in range(30)]


def test_a_letter_that_kills_its_worker_is_held_and_the_others_of_its_chunk_go_out(new_house: NewHouse) -> None:
    """At first it dies in flight with others, so that they are uncertain, too; then it goes alone."""

    def kill(session: Session) -> None:
        claimed_by = text(here.ledger.redis.hget(here.ledger.keys.letter(receipts[POISON].id), "worker"))
        os.kill(int(claimed_by.rpartition(":")[2]), signal.SIGKILL)
        close(session)

    with scripted_relay({"rcpt": only_to(POISON, kill)}) as relay:
        settings = {
            "POSTROOM_LEASE_S": "0.6",
            "POSTROOM_DEATHS_MAX": "2",
            "POSTROOM_SESSIONS": "1",
            "POSTROOM_BELL_S": "15",
        }
        here = new_house(POSTROOM_RELAY_URL=relay.url, **settings)
        to = [*OTHERS[:10], POISON, *OTHERS[10:]]
        letters = [Letter(each, "hi", settings=here.postroom.settings, priority="bulk") for each in to]
        receipts = dict(zip(to, here.postroom.send_letters(letters), strict=True))
        here.worker("worker", "--concurrency=4")
        here.wait_for(receipts[POISON], LetterState.HELD)
        assert receipts[POISON].status().reason == "its worker died 2 times"
        assert here.events(receipts[POISON]) == ["queued", "uncertain", "died", "died", "held"]
        assert relay.accepted[POISON] == 0
        for each in OTHERS:
            here.wait_for(receipts[each], LetterState.SENT)
            assert 1 <= relay.accepted[each] <= 2, "what it had in hand may go out twice, and no more often"
            assert here.events(receipts[each]).count("uncertain") <= 1
