"""Redis is away for longer than any claim lasts: a minute in ``make chaos``, some seconds else.

Producers are told within a bound, each time. The worker lives and comes back by itself. A letter that was delivered
while Redis was away is not delivered again, though its claim has run out by then.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from threading import Event

import pytest

from house import house
from postroom import LedgerUnavailable, LetterState, clock
from postroom.ledger.keys import Keys
from postroom_worker.dev.scripted_relay import both, say, scripted_relay, wait_for
from postroom_worker.dev.server import server, wait_until
from postroom_worker.patience import Patience
from postroom_worker.timer import tick

AWAY_S = 60.0 if "CHAOS_LETTERS" in os.environ else 2.5
LEASE_S = 15.0
TOLD_WITHIN_S = 30.0
SENDING = Keys().index(LetterState.SENDING, 0)
IN_HAND = [f"in-hand-{number}@example.com" for number in range(3)]
DUE = [f"due-{number}@example.com" for number in range(10)]


@pytest.mark.timeout(120 + 2 * AWAY_S)
def test_workers_come_back_and_what_was_delivered_meanwhile_is_not_delivered_again(tmp_path: Path) -> None:
    answer = Event()
    taken = both(wait_for(answer), say("250 2.0.0 taken"))
    with (
        scripted_relay({"content": taken}) as relay,
        server(tmp_path / "redis", "--appendfsync", "always") as redis,
        house(tmp_path, redis.url, POSTROOM_RELAY_URL=relay.url, POSTROOM_LEASE_S=str(LEASE_S)) as here,
    ):
        worker = here.worker("worker", "--concurrency=3")
        in_hand = [here.postroom.send_letter(each, "hi") for each in IN_HAND]
        wait_until(lambda: sum(each.is_waiting for each in relay.sessions) == len(IN_HAND), "the relay has them all")
        due_ms = here.ledger.now_ms() + 500
        due = [here.postroom.send_letter(each, "hi", send_at=due_ms) for each in DUE]
        # However long it is away: no claim lasts until it is back.
        ends_ms = here.ledger.now_ms() + 1000 * AWAY_S
        here.ledger.redis.zadd(SENDING, dict.fromkeys([each.id for each in in_hand], ends_ms))
        redis.kill()
        away_s = clock.steady_s()
        answer.set()
        while clock.steady_s() - away_s < AWAY_S:
            asked_s = clock.steady_s()
            with pytest.raises(LedgerUnavailable) as told:
                here.postroom.send_letter("too-early@example.com", "hi")
            assert told.value.letter_id
            assert clock.steady_s() - asked_s < TOLD_WITHIN_S
        redis.restart()
        patience = Patience.of(here.postroom.settings)

        def are_sent() -> bool:
            # As another worker does, which comes back sooner than the one that lives tells what became of its letters.
            tick(here.ledger, here.postroom.bells, 0, {}, "another", (), patience)
            return {each.status().state for each in (*in_hand, *due)} == {LetterState.SENT}

        wait_until(are_sent, "all are sent", timeout_s=60)
        assert worker.process.poll() is None
        assert relay.accepted == Counter([*IN_HAND, *DUE])
        assert {each.status().attempts for each in (*in_hand, *due)} == {1}
        assert [here.events(each).count("uncertain") for each in in_hand] == [0] * len(IN_HAND)
