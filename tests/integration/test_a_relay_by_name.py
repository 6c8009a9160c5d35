"""A letter that names a relay: a worker without it leaves the letter to others, at no cost."""

from __future__ import annotations

from house import desk
from postroom import LetterState
from postroom.ledger.views import account
from postroom_worker.dev.scripted_relay import scripted_relay


def test_a_letter_for_the_relay_that_there_is_goes_out(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept("ann@example.com", relay="default")).state is LetterState.SENT


def test_a_letter_for_a_relay_that_the_worker_has_not_waits_and_says_so(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("ann@example.com", relay="newsletter")
        status = here.deliver(receipt)
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert relay.sessions == []
        *_, event = account(here.ledger, receipt.id).history
        assert event["why"] == "this worker has no relay named newsletter"
