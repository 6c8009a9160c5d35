"""Redis forgets its scripts, every few milliseconds: no transition fails for it, alone or among others."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from cluster import client
from house import desk
from postroom import Letter, LetterState, Postroom
from postroom.ledger import views
from postroom_worker.dev.scripted_relay import scripted_relay

CHUNKS, LETTERS = 3, 10


@pytest.fixture
def flushed(redis_url: str) -> Iterator[list[int]]:
    """Counts how often the scripts were forgotten."""
    times, stop = [0], Event()

    def flush() -> None:
        with client(redis_url) as redis:
            while not stop.wait(0.002):
                redis.script_flush()
                times[0] += 1

    thread = Thread(target=flush)
    thread.start()
    yield times
    stop.set()
    thread.join()


def test_letters_in_chunks_and_alone_are_accepted_and_delivered_once(redis_url: str, flushed: list[int]) -> None:
    with scripted_relay({}) as relay, desk(redis_url, relay.url) as here:
        postroom = Postroom(here.office.settings, ledger=here.ledger)
        letters = [
            Letter(f"{number}@example.com", "hi", settings=here.office.settings) for number in range(CHUNKS * LETTERS)
        ]
        receipts = postroom.send_letters(letters, chunk=LETTERS)
        for receipt in receipts:
            assert here.deliver(receipt).state is LetterState.SENT
        assert [views.account(here.ledger, each.id).status.attempts for each in receipts] == [1] * len(receipts)
        assert relay.accepted == {f"{number}@example.com": 1 for number in range(CHUNKS * LETTERS)}
        assert flushed[0] > 20
