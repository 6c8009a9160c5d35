"""Several sessions for a chunk: as soon as the relay keeps the first waiting, or lets it hang."""

from __future__ import annotations

from threading import Event, Thread

from house import desk
from postroom import LetterState
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import both, say, scripted_relay, wait_for
from postroom_worker.dev.server import wait_until


def test_a_chunk_is_shared_among_all_sessions(redis_url: str) -> None:
    go_on = Event()
    script = {"mail": both(wait_for(go_on), say("250 go on"))}
    with scripted_relay(script) as relay, desk(redis_url, relay.url, POSTROOM_SESSIONS="4") as here:
        chunk = [here.accept(f"a-{number}@example.com").id for number in range(16)]
        delivery = Thread(target=deliver, args=(here.office, chunk))
        delivery.start()
        try:
            wait_until(lambda: sum(each.is_waiting for each in relay.sessions) == 4, "each session has something")
        finally:
            go_on.set()
            delivery.join()
        assert [each.commands.count("DATA") for each in relay.sessions] == [4, 4, 4, 4]


def test_a_letter_that_hangs_keeps_no_more_waiting_than_those_of_its_flight(redis_url: str) -> None:
    go_on = Event()
    hangs, serves = {"content": both(wait_for(go_on), say("250 taken"))}, {"content": say("250 taken")}
    with (
        scripted_relay(hangs, serves, serves, serves) as relay,
        desk(redis_url, relay.url, POSTROOM_SESSIONS="4") as here,
    ):
        receipts = [here.accept(f"a-{number}@example.com") for number in range(16)]
        delivery = Thread(target=deliver, args=(here.office, [each.id for each in receipts]))
        delivery.start()
        try:
            wait_until(lambda: sum(relay.accepted.values()) == 12, "the others are delivered")
        finally:
            go_on.set()
            delivery.join()
        assert {each.status().state for each in receipts} == {LetterState.SENT}
