"""A key of the ledger holds another kind of value: nobody is asked for ever, and nothing of a letter is lost for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import client
from house import desk
from postroom import LetterState
from postroom.bell import Bells
from postroom.ledger import views
from postroom.ledger.damaged import damaged
from postroom_worker.dev.scripted_relay import Session, say, scripted_relay
from postroom_worker.timer import longest_waits_ms, tick

OVERWRITTEN_IN_THE_WINDOW = {
    "history": "postroom:{{{partition}}}:history:{id}",
    "index that it is in": "postroom:{{{partition}}}:state:sending",
    "index that it goes to": "postroom:{{{partition}}}:state:sent",
    "events": "postroom:{{{partition}}}:events",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", OVERWRITTEN_IN_THE_WINDOW.values(), ids=OVERWRITTEN_IN_THE_WINDOW)
def test_what_became_of_a_letter_is_recorded_and_the_wrong_value_put_aside(
    pattern: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: list[str] = []

    def take(session: Session) -> None:
        with client(redis_url) as somebody:
            for key in wrong:
                somebody.set(key, "somebody else's")
        say("250 2.0.0 taken")(session)

    with (
        scripted_relay({"content": take}) as relay,
        desk(redis_url, relay.url, POSTROOM_EVENTS_MAX="100") as here,
    ):
        first, second = here.accept("ann@example.com"), here.accept("ben@example.com")
        wrong.append(pattern.format(id=first.id, partition=here.ledger.keys.partition(first.id)))
        assert here.deliver(first).state is LetterState.SENT
        assert here.deliver(second).state is LetterState.SENT
        assert relay.accepted == {"ann@example.com": 1, "ben@example.com": 1}
        assert here.ledger.redis.get(f"{wrong[0]}:damaged") == b"somebody else's"
        assert damaged(here.ledger.redis) == wrong
        here.ledger.redis.delete(f"{wrong[0]}:damaged")
        assert damaged(here.ledger.redis) == []
    assert f"{wrong[0]} held a string" in caplog.text
    assert {each.levelno for each in caplog.records if ":damaged" in each.message} == {logging.ERROR}


def test_a_letter_that_was_overwritten_itself_is_unknown_and_the_others_go_on(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        lost, other = here.accept("ann@example.com"), here.accept("ben@example.com")
        here.ledger.redis.set(here.ledger.keys.letter(lost.id), "somebody else's")
        claims = here.ledger.claim([lost.id, other.id], "w")
        assert claims[0] == "unknown"
        assert not isinstance(claims[1], str)


@pytest.mark.parametrize("state", ["scheduled", "deferred", "queued", "sending"])
def test_the_schedule_goes_on_without_an_index_that_was_overwritten(state: str, empty_redis: Callable[[], str]) -> None:
    with scripted_relay() as relay, desk(empty_redis(), relay.url, POSTROOM_BELL_S="0") as here:
        here.ledger.redis.set(here.ledger.keys.index(LetterState(state), 0), "somebody else's")
        receipt = here.accept("ann@example.com")
        settings = here.office.settings
        for _ in range(2):
            tick(here.ledger, Bells.of(settings), 0, longest_waits_ms(settings), "desk")
        assert here.ledger.redis.llen("postroom") > 0
        assert views.account(here.ledger, receipt.id).status.state is LetterState.QUEUED


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["breaker", "slowed", "refusals", "sessions", "letters", "connections"])
def test_no_letter_waits_for_what_was_known_of_its_relay(what: str, redis_url: str, tmp_path: Path) -> None:
    with scripted_relay() as relay:
        path = tmp_path / "relays.toml"
        limits = "connections = 9, connections_per_s = 99, letters_per_s = 99"
        path.write_text(f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ {limits} }}\n')
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path)) as here:
            here.ledger.redis.lpush(here.ledger.keys.relay("default", what), "somebody else's")
            assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
