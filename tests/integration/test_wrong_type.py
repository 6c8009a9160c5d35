"""A key of the ledger holds another kind of value: nobody is asked for ever, and nothing of a letter is lost for it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from cluster import all_keys, client
from house import desk
from postroom import LedgerUnavailable, LetterState
from postroom.bell import Bells
from postroom.ledger import audit, counts, views, webhooks
from postroom.ledger.damaged import damaged
from postroom.ledger.keys import Keys
from postroom.ledger.scripts import Call, Scripts
from postroom_worker.dev.scripted_relay import Session, say, scripted_relay
from postroom_worker.dev.server import wait_until
from postroom_worker.timer import longest_waits_ms, tick

OVERWRITTEN_IN_THE_WINDOW = {
    "history": "postroom:{{{partition}}}:history:{id}",
    "index that it is in": "postroom:{{{partition}}}:state:sending",
    "index that it goes to": "postroom:{{{partition}}}:state:sent",
    "events": "postroom:{{{partition}}}:events",
}
WEBHOOK = webhooks.Webhook(id="msg_1", partition=0, made_ms=1, body="{}")

SHARED: dict[str, tuple[list[str], list[str | bytes | int]]] = {
    "admit": (["sessions", "letters"], ["member", 1000, "", "places", 1, 1000, "rate", 1, 1000]),
    "keep_places": (["sessions"], [1000, "member"]),
    "knock": (["breaker", "slowed", "refusals", "sessions", "wanted"], ["nonce", 1000]),
    "mend": (["breaker"], ["nonce", 1000]),
    "pass_probe": (["breaker"], ["nonce"]),
    "refuse": (["refusals"], ["550 5.7.1", 1000]),
    "slow": (["slowed"], ["example.com", "1", "0.1", 1000]),
    "trip": (["breaker"], [1000, "421 4.3.2 bye", ""]),
    "take_webhooks": (["webhooks:due", "webhooks"], [1000, 10]),
    "note_kept": (["kept"], ["id digest"]),
    "count": (["counts", "counted"], [1000, "series", 1]),
    "look": (["letter"], ["state"]),
}
"""The scripts of what is shared: their keys, and arguments. Those of a letter are in `test_ledger`."""
ASKED_FOR = {("knock", "wanted"), ("count", "counted")}
"""Keys of which a script asks only whether they are there."""
OF_EVERYBODY = [
    "postroom:workers",
    "postroom:relays",
    "postroom:suspensions",
    "postroom:traces",
    "postroom:audit",
    "postroom:kept",
    "postroom:{counts}",
    "postroom:{0}:webhooks",
    "postroom:{0}:webhooks:due",
    "postroom:{0}:webhooks:1",
    "postroom:{0}:webhooks:1:due",
    "postroom:{0}:events",
]


@pytest.mark.parametrize(
    ("verb", "wrong"),
    [(verb, key) for verb, (keys, _) in SHARED.items() for key in keys if (verb, key) not in ASKED_FOR],
)
def test_a_script_of_what_is_shared_writes_nothing_when_one_of_its_keys_is_of_the_wrong_type(
    verb: str, wrong: str, empty_redis: Callable[[], str]
) -> None:
    keys, arguments = SHARED[verb]
    with client(empty_redis()) as redis:
        redis.hset("breaker", mapping={"until_ms": 1, "trips": 1})
        redis.zadd("webhooks:due", {"webhook": 1})
        redis.delete(wrong)
        redis.rpush(wrong, "somebody else's")
        before = {key: redis.dump(key) for key in all_keys(redis)}
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            Scripts(redis).run(Call(verb, keys, arguments))
        assert {key: redis.dump(key) for key in all_keys(redis)} == before


@pytest.mark.timeout(120)
@pytest.mark.parametrize("key", OF_EVERYBODY)
def test_workers_go_on_when_a_key_of_all_letters_was_overwritten(key: str, empty_redis: Callable[[], str]) -> None:
    with scripted_relay() as relay, desk(empty_redis(), relay.url, POSTROOM_EVENTS_MAX="100") as here:
        ledger, settings = here.ledger, here.office.settings
        ledger.redis.set(key, "somebody else's")
        entry = audit.Entry(act="hold", by="ops", why="", letters="all", number=1)

        def look() -> bool:
            done = []
            for each in (
                lambda: audit.begin(ledger, entry),
                lambda: [webhooks.keep(ledger, 0, [WEBHOOK], [], place) for place in range(2)],
                lambda: [webhooks.take(ledger, 1000, 10, place) for place in range(2)],
                lambda: webhooks.begin(ledger),
                lambda: counts.add(ledger, "nonce", {("letters",): 1}),
            ):
                with suppress(LedgerUnavailable):
                    each()
                    done.append(each)
            tick(ledger, Bells.of(settings), 0, longest_waits_ms(settings), "desk", ["default"])
            return len(done) == 5 and ledger.redis.llen("postroom") > 0

        receipt = here.accept("ann@example.com", send_at=ledger.now_ms())
        wait_until(look, "all that workers do is done")
        assert here.deliver(receipt).state is LetterState.SENT
        assert ledger.redis.get(Keys.put_aside(key)) == b"somebody else's"
        assert damaged(ledger.redis) == [key]
        assert counts.read(ledger)["letters",] == 1


@pytest.mark.parametrize("which", ["octets", "letters that need them"])
def test_contents_of_the_wrong_type_are_kept_anew(which: str, redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, POSTROOM_CONTENTS_OVER="10") as here:
        text = "some more than ten octets"
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        keys = here.ledger.keys
        key = keys.contents(sha256) if which == "octets" else keys.contents_letters(sha256)
        here.ledger.redis.hset(key, "somebody", "else's")
        assert here.deliver(here.accept("ann@example.com", text)).state is LetterState.SENT
        assert damaged(here.ledger.redis) == [key]
        assert not here.ledger.redis.exists(keys.contents(sha256)), "nobody needs them any longer"


def test_a_number_of_partitions_that_is_none_is_told_with_the_remedy(empty_redis: Callable[[], str]) -> None:
    with desk(empty_redis(), "smtp://127.0.0.1:1") as here:
        here.ledger.redis.set(Keys.layout(), "somebody else's")
        with pytest.raises(LedgerUnavailable, match="postroom:partitions is not a number") as told:
            here.accept("ann@example.com")
        assert told.value.is_alert


@pytest.mark.timeout(120)
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


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["breaker", "slowed", "refusals", "sessions", "letters", "connections"])
def test_no_letter_waits_for_what_was_known_of_its_relay(what: str, redis_url: str, tmp_path: Path) -> None:
    with scripted_relay() as relay:
        path = tmp_path / "relays.toml"
        limits = "connections = 9, connections_per_s = 99, letters_per_s = 99"
        path.write_text(f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ {limits} }}\n')
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path)) as here:
            here.ledger.redis.lpush(here.ledger.keys.relay("default", what), "somebody else's")
            assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
