"""The metrics: what workers count, what the exporter reads in the ledger, and what both cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from house import Desk, House, NewHouse, desk
from postroom import LetterState, metrics
from postroom.cli import main
from postroom.cli.exporter import registry
from postroom.ledger import Ledger, NewLetter, Recipient, counts
from postroom.ledger.cluster import primaries
from postroom.ledger.connection import FOREVER_MS
from postroom.ledger.suspensions import Suspension, suspend
from postroom.ledger.workers import sign_in
from postroom_worker.delivery import deliver
from postroom_worker.dev.capture import greylisted, refused
from postroom_worker.dev.scripted_relay import say, scripted_relay
from postroom_worker.dev.server import free_port, server, wait_until

HOUR_MS = 3_600_000

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """What an exposition says: the value of each sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(ledger: Ledger) -> Samples:
    return parsed(generate_latest(registry(ledger, 60_000)).decode())


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def counted(here: Desk) -> Samples:
    """What the exporter says once this process has added what it counted."""
    here.office.telemetry.counts.flush()
    return scraped(here.ledger)


def accept(ledger: Ledger, numbers: range) -> None:
    new = [
        NewLetter(
            id=f"L{each}",
            letter=b"{}",
            digest="d",
            recipients=[Recipient("ann@example.com")],
            give_up_in_ms=HOUR_MS,
            queue="postroom",
        )
        for each in numbers
    ]
    assert set(ledger.accept_all(new)) == {"accepted"}


def test_attempts_are_counted_by_relay_and_outcome_and_answers_by_reason(redis_url: str) -> None:
    answers = {
        "rcpt": lambda session: (
            say("451 4.7.1 <grey@example.com> greylisted, come back in 17 s")
            if "grey" in session.commands[-1]
            else say("550 5.1.1 no such mailbox")
            if "gone" in session.commands[-1]
            else say("250 2.1.5 ok")
        )(session)
    }
    with scripted_relay(answers) as relay, desk(redis_url, relay.url) as here:
        for to in (["ann@example.com"], ["ann@example.com", "gone@example.com"], ["grey@example.com"]):
            here.deliver(here.accept(to))
        found = counted(here)
    for outcome, number in {"accepted": 1, "refused": 1, "deferred": 1, "uncertain": None}.items():
        assert value(found, "postroom_attempts_total", relay="default", outcome=outcome) == number
    for outcome, reason, number in (
        ("accepted", "content 2xx 2.0.x", 2),
        ("refused", "rcpt 5xx 5.1.x", 1),
        ("deferred", "rcpt 4xx 4.7.x", 1),
    ):
        found_number = value(found, "postroom_answers_total", relay="default", outcome=outcome, reason=reason)
        assert found_number == number, reason
    assert value(found, "postroom_attempt_seconds_count", relay="default") == 3
    sent = value(found, "postroom_delivery_seconds_count", relay="default", queue="postroom")
    assert sent == 2, "who waits for somebody was not delivered yet"


def test_what_one_recipient_was_refused_for_is_no_label(redis_url: str) -> None:
    said = say('599 5.999.999 "geheim"} 1 <anna.geheim@example.com>')
    with scripted_relay({"rcpt": said}) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("anna.geheim@example.com"))
        here.office.telemetry.counts.flush()
        told = generate_latest(registry(here.ledger, 60_000)).decode()
    assert 'reason="rcpt 5xx"' in told
    assert "geheim" not in told
    assert "example.com" not in told


def test_a_relay_that_turns_letters_away_is_told_with_its_breaker(redis_url: str) -> None:
    pauses = {"POSTROOM_PAUSE_FIRST_S": "60", "POSTROOM_PAUSE_MAX_S": "60"}
    with desk(redis_url, f"smtp+plain://127.0.0.1:{free_port()}", **pauses) as here:
        here.deliver(here.accept("ann@example.com"))
        found = counted(here)
    assert value(found, "postroom_attempts_total", relay="default", outcome="pause-relay") == 1
    reason = {"relay": "default", "outcome": "pause-relay", "reason": "connect no-connection"}
    assert value(found, "postroom_answers_total", **reason) == 1
    assert value(found, "postroom_relay_state", relay="default", state="open") == 1
    assert value(found, "postroom_relay_state", relay="default", state="closed") == 0
    assert value(found, "postroom_relay_trips", relay="default") == 1


def test_a_relay_is_told_of_before_it_was_tried_and_while_an_operator_has_it_suspended(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        sign_in(here.ledger, "a@host", "1.0", ["default", "other"])
        suspend(here.ledger, Suspension(kind="relay", name="other"))
        found = scraped(here.ledger)
    for relay, now in (("default", "closed"), ("other", "suspended")):
        for state in ("closed", "open", "half-open", "suspended"):
            assert value(found, "postroom_relay_state", relay=relay, state=state) == (state == now)


def test_the_oldest_of_many_is_found_where_no_worker_takes_it_and_where_it_was_tried_often(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        accept(here.ledger, range(3000))
        for letter, due_ms in (("L1000", 1), ("L2000", FOREVER_MS)):
            here.ledger.redis.hincrby(here.ledger.keys.letter(letter), "give_up_ms", -HOUR_MS)
            index = here.ledger.keys.index_of(letter, LetterState.QUEUED)
            here.ledger.redis.zadd(index, {letter: due_ms})
            assert 3600 <= (value(scraped(here.ledger), "postroom_oldest_seconds", state="queued") or 0) < 3660
            here.ledger.redis.hincrby(here.ledger.keys.letter(letter), "give_up_ms", HOUR_MS)


def test_the_exporter_tells_how_the_ledger_stands(redis_url: str) -> None:
    with scripted_relay({"rcpt": say("451 4.7.1 later")}) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("ann@example.com"))
        here.accept("ben@example.com")
        wait_until(lambda: value(scraped(here.ledger), "postroom_due_letters", state="deferred"), "it is due again")
        wait_until(lambda: value(scraped(here.ledger), "postroom_due_seconds"), "that is told")
        found = counted(here)
        nodes = [each.name for each in primaries(here.ledger.redis)]
    for state in LetterState:
        number = value(found, "postroom_letters", state=state)
        assert number == (state in (LetterState.DEFERRED, LetterState.QUEUED)), state
    assert value(found, "postroom_ledger_up") == 1
    assert value(found, "postroom_relay_sessions", relay="default") == 1
    for waiting in ("queued", "deferred"):
        assert 0 < (value(found, "postroom_oldest_seconds", state=waiting) or 0) < 60
    for node in nodes:
        assert (value(found, "postroom_redis_memory_bytes", node=node) or 0) > 100_000


def test_every_metric_is_told_and_no_other(shared: House) -> None:
    """By a worker, its children, and the exporter."""
    shared.answers["grey@metrics.example"] = greylisted(1000)
    shared.answers["no@metrics.example"] = refused
    for to in ("ann", "no", "grey"):
        shared.postroom.send_letter(f"{to}@metrics.example", "hi")

    def told() -> Samples:
        found = scraped(shared.ledger)
        wanted = [{"outcome": each} for each in ("accepted", "refused", "deferred")]
        return found if all(value(found, "postroom_attempts_total", relay="default", **each) for each in wanted) else {}

    names = {name for name, _ in wait_until(told, "its children have told what they counted")}
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
    assert names == {each.name + suffix for each in metrics.METRICS for suffix in suffixes[each.kind]}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_child_has_counted_outlives_it(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("ann@example.com")
        child = os.fork()
        if child == 0:
            deliver(here.office, [receipt.id])
            signal.pause()
        try:
            wait_until(lambda: counts.read(here.ledger), "the child has told what it counted")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert value(scraped(here.ledger), "postroom_attempts_total", relay="default", outcome="accepted") == 1


def test_counts_whose_answer_was_lost_are_added_once(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        series = (metrics.ATTEMPTS.name, "default", "accepted", "")
        for nonce in ("a", "a", "b"):
            counts.add(here.ledger, nonce, {series: 3})
        assert counts.read(here.ledger) == {series: 6}


def test_counts_wait_while_redis_is_away(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("ann@example.com"))
        found = here.office.telemetry.counts
        with desk(f"redis://127.0.0.1:{free_port()}/0", relay.url) as nowhere:
            found._ledger, there = nowhere.ledger, found._ledger
            found.flush()
        assert counts.read(here.ledger) == {}
        found._ledger = there
        found.flush()
        assert value(scraped(here.ledger), "postroom_attempts_total", relay="default", outcome="accepted") == 1
        here.deliver(here.accept("ann@example.com"))
        assert value(counted(here), "postroom_attempts_total", relay="default", outcome="accepted") == 2


def test_a_scrape_costs_the_same_however_many_letters_there_are(tmp_path: Path) -> None:
    with server(tmp_path) as running, desk(running.url, "smtp://127.0.0.1:1") as here:
        ledger, costs = here.ledger, []
        for numbers in (range(600), range(600, 3000)):
            accept(ledger, numbers)
            scraped(ledger)
            ledger.redis.config_resetstat()
            assert value(scraped(ledger), "postroom_letters", state="queued") == numbers.stop
            said = ledger.redis.info("commandstats")
            costs.append({name: each["calls"] for name, each in said.items()})
        assert costs[0] == costs[1]
        assert sum(costs[0].values()) < 700, "most of them read a letter of the sample"


def test_a_ledger_that_is_away_is_told(tmp_path: Path) -> None:
    with desk(f"redis://127.0.0.1:{free_port()}/0", "smtp://127.0.0.1:1") as here:
        assert scraped(here.ledger) == {("postroom_ledger_up", frozenset()): 0}


@contextmanager
def exporting(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    program = "import sys; from postroom.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "exporter"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def test_the_exporter_serves_at_the_address_of_the_settings_until_it_is_interrupted(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_METRICS_PORT=str(free_port()))
    with exporting(here.environment) as process:
        assert process.stderr is not None
        where = process.stderr.readline().split()[-1]
        assert where == f"http://127.0.0.1:{here.environment['POSTROOM_METRICS_PORT']}/metrics"
        with urlopen(where, timeout=10) as response:
            assert value(parsed(response.read().decode()), "postroom_ledger_up") == 1
        second = CliRunner().invoke(main, ["exporter"], env={**here.environment})
        assert second.exit_code == 1
        assert "in use" in second.stderr
        assert "POSTROOM_METRICS_PORT" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
