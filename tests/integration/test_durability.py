"""What durable means: on disk before `send_letter` returns, where that is asked for; and room left for outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from house import Desk, desk
from postroom import LedgerUnavailable, Letter, LetterState, Postroom, Receipt
from postroom.ledger import views
from postroom_worker.dev.scripted_relay import Script, say, scripted_relay
from postroom_worker.dev.server import Server, server

SYNCED = {"POSTROOM_DURABILITY": "synced"}


@pytest.fixture(scope="module")
def with_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an append-only file."""
    with server(tmp_path_factory.mktemp("redis"), "--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


def asked(here: Desk) -> int:
    """How often Redis was asked whether what was written is on its disk."""
    commands: dict[str, Any] = here.ledger.redis.info("commandstats")
    return int(commands.get("cmdstat_waitaof", {}).get("calls", 0))


def test_a_letter_is_on_disk_when_it_is_accepted(with_file: Server) -> None:
    with desk(with_file.url, "smtp://127.0.0.1:1", **SYNCED) as here:
        before = asked(here)
        here.accept("ann@example.com")
        assert asked(here) > before


def test_so_are_many_in_one_round_trip_also_when_redis_forgot_the_script(with_file: Server) -> None:
    with desk(with_file.url, "smtp://127.0.0.1:1", **SYNCED) as here:
        here.ledger.redis.script_flush()
        before = asked(here)
        letters = [Letter(f"a-{each}@example.com", "hi", settings=here.office.settings) for each in range(5)]
        client = Postroom(here.office.settings, ledger=here.ledger)
        assert len(client.send_letters(letters)) == 5
        assert asked(here) - before in (1, 2)  # twice where a script had to be sent in whole


@pytest.mark.parametrize("policy", ["hold", "resend"])
def test_a_window_of_a_letter_that_must_not_be_doubled_is_on_disk_before_it_opens(
    policy: str, with_file: Server
) -> None:
    with scripted_relay() as relay, desk(with_file.url, relay.url, **SYNCED) as here:
        receipt = here.accept("ann@example.com", on_uncertain=policy)
        before = asked(here)
        assert here.deliver(receipt).state is LetterState.SENT
        assert (asked(here) > before) == (policy == "hold")


def test_nothing_is_promised_that_redis_cannot_keep(empty_redis: Callable[[], str]) -> None:
    """This server has no append-only file."""
    with (
        desk(empty_redis(), "smtp://127.0.0.1:1", **SYNCED) as here,
        pytest.raises(LedgerUnavailable, match="appendonly"),
    ):
        here.accept("ann@example.com")


def test_a_redis_that_is_too_old_for_it_is_told(tmp_path: Path) -> None:
    with (
        server(tmp_path, "--rename-command", "WAITAOF", "") as old,
        desk(old.url, "smtp://127.0.0.1:1", **SYNCED) as here,
        pytest.raises(LedgerUnavailable, match="too old") as refused,
    ):
        here.accept("ann@example.com")
    assert refused.value.is_alert


def test_replicas_that_are_not_there_are_missed(with_file: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.ledger.durability._WAIT_MS", 100)
    settings = SYNCED | {"POSTROOM_REPLICAS": "1"}
    with desk(with_file.url, "smtp://127.0.0.1:1", **settings) as here:
        letter = Letter("ann@example.com", "hi", settings=here.office.settings)
        client = Postroom(here.office.settings, ledger=here.ledger)
        with pytest.raises(LedgerUnavailable, match="on 0 of 1 replicas") as refused:
            client.send(letter)
        assert refused.value.letter_id == letter.id, "it may have been accepted: it names what to send again"


def test_a_letter_that_is_sent_again_over_another_connection_is_not_taken_for_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis waits for what this connection wrote: of one that wrote nothing all is on disk. This one never syncs."""
    monkeypatch.setattr("postroom.ledger.durability._WAIT_MS", 50)
    with (
        server(tmp_path, "--appendonly", "yes", "--appendfsync", "no") as lazy,
        desk(lazy.url, "smtp://127.0.0.1:1", **SYNCED) as here,
    ):
        letter = Letter("ann@example.com", "hi", settings=here.office.settings)
        client = Postroom(here.office.settings, ledger=here.ledger)
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="not safe yet"):
                client.send(letter)
            here.ledger.redis.connection_pool.disconnect()


def test_new_letters_are_refused_before_redis_is_full_and_outcomes_are_recorded(tmp_path: Path) -> None:
    with (
        server(tmp_path, "--maxmemory", "20mb", "--appendonly", "no") as small,
        scripted_relay() as relay,
        desk(small.url, relay.url) as here,
        Redis.from_url(small.url) as redis,
    ):
        receipt = here.accept("ann@example.com")
        for number in count():
            memory = redis.info("memory")
            if memory["used_memory"] > 0.86 * memory["maxmemory"]:
                break
            redis.set(f"somebody else's {number}", bytes(100_000))
        here.ledger.room._asked_s = float("-inf")
        with pytest.raises(LedgerUnavailable, match="POSTROOM_MEMORY_PART"):
            here.accept("ben@example.com")
        with pytest.raises(LedgerUnavailable, match="POSTROOM_MEMORY_PART"):
            here.accept("ben@example.com", attachments=[("report.pdf", bytes(100_000))])
        assert redis.keys("postroom:{contents-*") == [], "nor is what only such a letter would need"
        assert here.deliver(receipt).state is LetterState.SENT
        redis.delete(*redis.keys("somebody else's *"))
        here.ledger.room._asked_s = float("-inf")
        here.accept("ben@example.com")


def test_a_part_of_one_leaves_it_to_redis_however_full_it_is(tmp_path: Path) -> None:
    with (
        server(tmp_path, "--appendonly", "no") as small,
        desk(small.url, "smtp://127.0.0.1:1", POSTROOM_MEMORY_PART="1") as here,
    ):
        here.ledger.redis.config_set("maxmemory", 1)
        with pytest.raises(LedgerUnavailable, match="Redis is full"):
            here.accept("ann@example.com")


def fill(redis: Redis) -> None:
    """Fill a Redis until it takes nothing more, be it ever so small."""
    size = 100_000
    for number in count():
        try:
            redis.set(f"somebody else's {number}", bytes(size))
        except OutOfMemoryError:
            if size == 1:
                return
            size = max(1, size // 10)


def test_a_redis_that_is_full_to_the_last_octet_takes_what_became_of_every_letter(tmp_path: Path) -> None:
    """By letters at first, for nobody keeps them out; then by others, before each outcome."""
    script: Script = {
        "rcpt": [say("451 4.7.1 greylisted"), say("550 5.1.1 nobody"), say("250 ok")],
        "content": say("250 taken"),
    }
    with (
        server(tmp_path, "--maxmemory", "7mb", "--appendonly", "no") as small,
        scripted_relay(script) as relay,
        desk(small.url, relay.url, POSTROOM_MEMORY_PART="1", POSTROOM_RETRY_FIRST_S="60") as here,
        Redis.from_url(small.url) as redis,
    ):
        receipts: list[Receipt] = []

        def accept_for_ever() -> None:
            while True:
                receipts.append(here.accept("ann@example.com", "x" * 60_000))

        with pytest.raises(LedgerUnavailable, match="Redis is full"):
            accept_for_ever()
        assert len(receipts) > 20
        states = []
        for receipt in receipts[:4]:
            fill(redis)
            with pytest.raises(LedgerUnavailable, match="Redis is full"):
                here.accept("ben@example.com")
            states.append(here.deliver(receipt).state)
            assert [each["event"] for each in views.account(here.ledger, receipt.id).history] == ["queued", "attempt"]
        assert states == [LetterState.DEFERRED, LetterState.FAILED, LetterState.SENT, LetterState.SENT]
        for receipt in receipts[4:]:
            here.deliver(receipt)
        assert {each.status().state for each in receipts[4:]} == {LetterState.SENT}
        assert relay.accepted == {"ann@example.com": len(receipts) - 2}


def test_a_redis_without_a_limit_is_never_full(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_MEMORY_PART="0.000001") as here:
        here.accept("ann@example.com")
