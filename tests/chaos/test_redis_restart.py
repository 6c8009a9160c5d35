"""Redis is killed with a letter in hand, and restarted from its append-only file: the worker lives, nothing is lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from house import House, house
from postroom import LedgerUnavailable, LetterState, Receipt
from postroom_worker.dev.scripted_relay import ScriptedRelay, both, say, scripted_relay, silent, wait_for
from postroom_worker.dev.server import Server, server, wait_until

AS_SHIPPED = ("--", "worker.consumer=celery.worker.consumer:Consumer")
WAITING = 10


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to be killed.

    It writes before it answers: with ``everysec``, what was answered while its disk was slow is lost by a kill -9 too.
    """
    with server(tmp_path / "redis", "--appendfsync", "always") as running:
        yield running


def in_hand(here: House, relay: ScriptedRelay) -> Receipt:
    """Send a letter whose content the relay takes, and does not answer for yet: a slot of the worker is busy with it.

    The other slot is free, and waits for a bell: this is the moment at which Celery, as shipped, does not survive.
    """
    receipt = here.postroom.send_letter("in-hand@example.com", "hi")
    wait_until(lambda: relay.sessions and relay.sessions[0].has_content, "the relay has the whole content")
    return receipt


def test_the_worker_lives_and_every_letter_is_delivered_once(redis_server: Server, tmp_path: Path) -> None:
    answer = Event()
    script = {"content": [both(wait_for(answer), say("250 2.0.0 taken")), say("250 2.0.0 taken")]}
    with scripted_relay(script) as relay, house(tmp_path, redis_server.url, POSTROOM_RELAY_URL=relay.url) as here:
        worker = here.worker()
        first = in_hand(here, relay)
        now_ms = here.ledger.now_ms()
        others = [
            here.postroom.send_letter(f"due-{number}@example.com", "hi", send_at=now_ms + 500)
            for number in range(WAITING)
        ]
        redis_server.kill()
        with pytest.raises(LedgerUnavailable) as refused:
            here.postroom.send_letter("too-early@example.com", "hi")
        assert refused.value.letter_id
        answer.set()  # the letter in hand is accepted while Redis is away: that must not be forgotten
        redis_server.restart()
        assert {each.wait().state for each in (first, *others)} == {LetterState.SENT}
        assert worker.process.poll() is None
        assert "Unrecoverable error" not in worker.log.read_text()
        assert relay.accepted == Counter(
            ["in-hand@example.com", *(f"due-{number}@example.com" for number in range(WAITING))]
        )
        assert first.status().attempts == 1
        assert "uncertain" not in here.events(first)


@pytest.mark.skipif(
    "CHAOS_LETTERS" not in os.environ, reason="Celery's own race, which it now and then wins: make chaos"
)
def test_as_shipped_the_worker_does_not_survive(redis_server: Server, tmp_path: Path) -> None:
    """When this fails, Celery has mended it, and that part of our consumer can go."""
    with (
        scripted_relay({"content": silent}) as relay,
        house(tmp_path, redis_server.url, POSTROOM_RELAY_URL=relay.url) as here,
    ):
        worker = here.worker("as-shipped", "--concurrency=2", *AS_SHIPPED)
        in_hand(here, relay)
        redis_server.kill()
        wait_until(lambda: "Unrecoverable error" in worker.log.read_text(), "the worker gives up")
        assert "'NoneType' object has no attribute 'hostname'" in worker.log.read_text()
