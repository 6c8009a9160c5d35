"""What a relay has answered is recorded soon, however long the letters behind it take."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from house import desk
from postroom import LetterState
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import OFFERS, Session, say, scripted_relay, wait_for
from postroom_worker.dev.server import wait_until


@pytest.mark.parametrize("offers", [OFFERS, [*OFFERS, "CHUNKING"]], ids=["pipelined", "chunked"])
def test_an_outcome_does_not_wait_for_the_slow_letter_behind_it(offers: list[str], redis_url: str) -> None:
    """A worker that is killed meanwhile must not have forgotten it."""
    go_on = Event()

    def at_end(session: Session) -> None:
        if session.is_for("slow@example.com"):
            wait_for(go_on)(session)
        say("250 2.0.0 taken")(session)

    with scripted_relay({"content": at_end}, offers=offers) as relay, desk(redis_url, relay.url) as here:
        receipts = [here.accept(f"{name}@example.com") for name in ("first", "second", "slow")]
        worker = Thread(target=deliver, args=(here.office, [each.id for each in receipts]))
        worker.start()
        try:
            wait_until(lambda: any(each.is_waiting for each in relay.sessions), "the last is in hand")
            wait_until(lambda: receipts[1].status().state is LetterState.SENT, "those before it are recorded")
            assert receipts[2].status().state is LetterState.SENDING
        finally:
            go_on.set()
            worker.join()
        assert {each.status().state for each in receipts} == {LetterState.SENT}
