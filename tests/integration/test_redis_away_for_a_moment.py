"""Redis does not answer between the claim and the relay's turn: the letter waits a moment, not a minute."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from redis import Redis

from house import desk
from postroom import LetterState
from postroom.ledger import views
from postroom.ledger.keys import Keys
from postroom_worker.dev.scripted_relay import scripted_relay

SOON_MS = 10_000


def test_a_letter_in_hand_is_tried_again_soon_for_redis_is_back_when_that_is_recorded(
    empty_redis: Callable[[], str],
) -> None:
    redis_url = empty_redis()
    url = urlsplit(redis_url)
    with Redis.from_url(redis_url) as redis, scripted_relay() as relay:
        # Whoever may not read how relays stand meets a Redis that answers to the claim, and then does not.
        keys = ["postroom:{0}*", Keys.layout()]
        redis.acl_setuser("letters", enabled=True, passwords=["+secret"], categories=["+@all"], keys=keys)
        try:
            with desk(url._replace(netloc=f"letters:secret@{url.netloc}").geturl(), relay.url) as here:
                receipt = here.accept("ann@example.com")
                assert here.deliver(receipt).state is LetterState.DEFERRED
                [waits] = [each for each in views.account(here.ledger, receipt.id).history if each["event"] == "waits"]
        finally:
            redis.acl_deluser("letters")
        assert waits["why"].startswith("Redis was away")
        assert 0 < waits["wait_ms"] <= SOON_MS
