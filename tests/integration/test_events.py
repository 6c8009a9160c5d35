"""The stream of events: what happens to all letters, for those who watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
from click.testing import CliRunner

from cluster import client
from house import NewHouse, desk
from postroom import LetterState, operate
from postroom.cli import main
from postroom.ledger import Finish, Ledger, NewLetter, Recipient, traces
from postroom.ledger.events import Event, latest, read_on
from postroom.ledger.scripts import Scripts
from postroom.ledger.transitions import Times
from postroom.ledger.views import account, counts

HOUR_MS = 3_600_000
TIMES = Times(
    lease_ms=HOUR_MS,
    bell_ms=HOUR_MS,
    keep_sent_ms=HOUR_MS,
    keep_failed_ms=HOUR_MS,
    uncertain_max=3,
    deaths_max=5,
    events_max=1000,
)


@contextmanager
def opened(redis_url: str, partitions: int = 1, events_max: int = 1000) -> Iterator[Ledger]:
    """A ledger whose streams keep so many events, about."""
    with client(redis_url) as redis:
        yield Ledger(redis, replace(TIMES, events_max=events_max), partitions)


def accept(ledger: Ledger, letter_id: str) -> None:
    new = NewLetter(
        id=letter_id,
        letter=b"{}",
        digest="d",
        recipients=[Recipient("ann@example.com")],
        give_up_in_ms=HOUR_MS,
        queue="postroom",
    )
    assert ledger.accept(new) == "accepted"


def attempt(ledger: Ledger, letter_id: str, **event: object) -> None:
    """Have a worker claim a letter, and fail."""
    [claim] = ledger.claim([letter_id], "w")
    assert not isinstance(claim, str)
    done = Finish(
        state=LetterState.FAILED,
        wait_ms=0,
        recipients=claim.recipients,
        attempts=1,
        uncertain=0,
        pauses=0,
        reason="",
        event={"event": "attempt", **event},
    )
    assert ledger.finish(claim, done)


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(each.letter_id, each.event["event"]) for each in events]


def test_every_event_of_a_history_is_in_the_stream_too(redis_url: str) -> None:
    with opened(redis_url) as ledger:
        accept(ledger, "a")
        accept(ledger, "b")
        attempt(ledger, "a", relay="mx")
        operate.retry(ledger, "a", by="ann@desk", reason="mended")
        found, _ = latest(ledger, 10)
        assert told(found) == [
            ("a", "queued"),
            ("b", "queued"),
            ("a", "claimed"),
            ("a", "attempt"),
            ("a", "retried"),
        ]
        own = [each.event for each in found if each.letter_id == "a" and each.event["event"] != "claimed"]
        assert own == list(account(ledger, "a").history)
        assert told(latest(ledger, 1)[0]) == [("a", "retried")]
        assert latest(ledger, 0)[0] == []


def test_the_claims_of_a_chunk_are_told_in_one_entry(redis_url: str) -> None:
    with opened(redis_url) as ledger:
        for letter_id in ("a", "b", "c"):
            accept(ledger, letter_id)
        ledger.claim(["a", "b", "unknown"], "host:7")
        before = ledger.redis.xlen(ledger.keys.events(0))
        ledger.claim(["b", "c", "a"], 'a "strange" one:8')
        assert ledger.redis.xlen(ledger.keys.events(0)) == before + 1
        claimed = [each for each in latest(ledger, 10)[0] if each.event["event"] == "claimed"]
        assert [(each.letter_id, each.event["worker"]) for each in claimed] == [
            ("a", "host:7"),
            ("b", "host:7"),
            ("c", 'a "strange" one:8'),
        ]


def test_what_is_due_is_told_and_what_it_waited_for(redis_url: str) -> None:
    with opened(redis_url) as ledger:
        ledger.times = replace(TIMES, lease_ms=0)
        for letter_id in ("a", "b"):
            accept(ledger, letter_id)
        ledger.claim(["a", "b"], "w")
        assert len(ledger.release_due(10)) == 2
        due = [each for each in latest(ledger, 10)[0] if each.event["event"] == "due"]
        assert [(each.letter_id, each.event["from"]) for each in due] == [("a", "sending"), ("b", "sending")]


def test_the_end_of_a_letter_is_told_who_purged_it_or_that_it_was_forgotten_in_its_time(redis_url: str) -> None:
    with opened(redis_url) as ledger:
        for letter_id in ("a", "b", "c"):
            accept(ledger, letter_id)
            attempt(ledger, letter_id)
        operate.purge(ledger, "a", by="ann@desk", reason="asked to")
        (last,), _ = latest(ledger, 1)
        assert (last.letter_id, last.event["event"], last.event["by"]) == ("a", "purged", "ann@desk")
        before = ledger.redis.xlen(ledger.keys.events(0))
        ledger.redis.zadd(ledger.keys.index(LetterState.FAILED, 0), {"b": 0, "c": 0})
        assert (ledger.forget_due(10), ledger.forget_due(10)) == (2, 0)
        assert ledger.redis.xlen(ledger.keys.events(0)) == before + 1, "what was forgotten together is one entry"
        found, _ = latest(ledger, 2)
        assert [(each.letter_id, each.event["event"], each.event["from"]) for each in found] == [
            ("b", "forgotten", "failed"),
            ("c", "forgotten", "failed"),
        ]


def test_who_reads_on_gets_what_has_happened_since_from_all_partitions(redis_url: str) -> None:
    with opened(redis_url, partitions=3) as ledger:
        accept(ledger, "before")
        _, places = latest(ledger, 0)
        assert read_on(ledger, places, 1) == ([], places)
        names = [f"L{number}" for number in range(9)]
        for name in names:
            accept(ledger, name)
        assert {ledger.keys.partition(name) for name in names} == {0, 1, 2}
        found, further = read_on(ledger, places, 1)
        assert sorted(told(found)) == [(name, "queued") for name in names]
        times = [each.event["at_ms"] for each in found]
        assert times == sorted(times), "whatever partition it happened in"
        assert read_on(ledger, further, 1)[0] == []
        assert sorted(told(latest(ledger, 10)[0])) == sorted([("before", "queued"), *told(found)])


def test_who_reads_on_may_wait_for_longer_than_its_connection_waits_for_an_answer(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_REDIS_TIMEOUT_S="0.1") as here:
        _, places = latest(here.ledger, 0)
        assert read_on(here.ledger, places, 150) == ([], places)
        assert traces.read_on(here.ledger, "default", "0-0", 150) == ([], "0-0")


def test_a_large_event_is_cut_to_its_name_in_the_stream_and_whole_in_the_history(redis_url: str) -> None:
    with opened(redis_url) as ledger:
        accept(ledger, "a")
        attempt(ledger, "a", recipients=["x" * 100] * 100)
        (last,), _ = latest(ledger, 1)
        whole = account(ledger, "a").history[-1]
        assert last.event == {"at_ms": whole["at_ms"], "event": "attempt", "cut": True}
        assert len(whole["recipients"]) == 100


def test_the_stream_is_capped(redis_url: str) -> None:
    with opened(redis_url, events_max=50) as ledger:
        for number in range(400):
            accept(ledger, f"L{number}")
        assert 50 <= ledger.redis.xlen(ledger.keys.events(0)) < 200


def test_without_a_stream_there_is_none(redis_url: str) -> None:
    with opened(redis_url, events_max=0) as ledger:
        accept(ledger, "a")
        assert not ledger.redis.exists(ledger.keys.events(0))
        assert latest(ledger, 10)[0] == []


def test_a_stream_that_is_none_is_put_aside_before_a_script_writes(redis_url: str) -> None:
    with opened(redis_url, events_max=0) as ledger:
        accept(ledger, "a")
        attempt(ledger, "a")
        ledger.redis.set(ledger.keys.events(0), "wrong")
        ledger.scripts = Scripts(ledger.redis, 10)
        operate.retry(ledger, "a")
        assert counts(ledger)[LetterState.QUEUED] == 1
        assert ledger.redis.xlen(ledger.keys.events(0)) == 1
        assert ledger.redis.get(f"{ledger.keys.events(0)}:damaged") == b"wrong"


def test_tail_prints_a_line_for_each_of_the_last_events(new_house: NewHouse) -> None:
    here = new_house()
    ledger = here.ledger
    accept(ledger, "a")
    recipients = [{"address": "ann@example.com", "state": "refused", "reply": "550 \x1b[2J[bold]no"}]
    attempt(ledger, "a", relay="mx", took_ms=7, state="failed", why="", recipients=recipients)
    operate.retry(ledger, "a", by="ann@desk", reason="mended")
    attempt(ledger, "a", recipients=["x" * 3000])
    result = CliRunner().invoke(main, ["tail", "--no-follow"], env={**here.environment})
    assert [line[8:].strip() for line in result.stdout.splitlines()] == [
        "a  accepted, ready to be sent",
        "a  claimed by a worker",
        "a  failed 550 \\x1b[2J[bold]no · mx, 7 ms",
        "a  retried by ann@desk: mended",
        "a  claimed by a worker",
        "a  attempt",
    ]


def test_tail_follows_until_it_is_interrupted(new_house: NewHouse) -> None:
    here = new_house()
    accept(here.ledger, "early")
    program = "import sys; from postroom.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "tail", "--json", "-n", "1"],
        env={**os.environ, **here.environment},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert msgspec.json.decode(process.stdout.readline())["id"] == "early"
        accept(here.ledger, "late")
        assert msgspec.json.decode(process.stdout.readline())["id"] == "late"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
