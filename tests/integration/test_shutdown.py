"""SIGTERM: the letter in hand is finished, the others are put back, and nothing is uncertain that need not be."""

from __future__ import annotations

import signal
from collections import Counter
from threading import Event

import pytest

from house import House, NewHouse
from postroom import Letter, LetterState
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.server import wait_until
from scripted_relay import Script, ScriptedRelay, both, say, scripted_relay, wait_for

LETTERS = 30


def stop(worker: Worker, relay: ScriptedRelay, go_on: Event) -> None:
    """Ask a worker to stop while the relay keeps it waiting; then let both go on."""
    wait_until(lambda: relay.sessions and relay.sessions[0].is_waiting, "the relay keeps it waiting")
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.log.read_text(), "it knows that it is to stop")
    assert worker.process.poll() is None, "it waits for the letter in hand"
    go_on.set()
    wait_until(lambda: worker.process.poll() is not None, "it has stopped")
    assert worker.process.returncode == 0


@pytest.mark.parametrize(("step", "answer"), [("data", "354 go ahead"), ("content", "250 2.0.0 taken")])
def test_the_letter_in_hand_is_finished(step: str, answer: str, new_house: NewHouse) -> None:
    go_on = Event()
    script: Script = {step: both(wait_for(go_on), say(answer))}
    with scripted_relay(script) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker()
        receipt = here.postroom.send_letter("in-hand@example.com", "hi")
        stop(worker, relay, go_on)
        assert receipt.status().state is LetterState.SENT
        assert here.events(receipt) == ["queued", "attempt"]
        assert relay.accepted == {"in-hand@example.com": 1}
        wait_until(lambda: relay.sessions[0].ended, "the session has ended")
        assert relay.sessions[0].ended == "quit", "no slot is left open at the relay"


def test_the_letters_behind_it_in_its_chunk_are_put_back_for_another_worker(new_house: NewHouse) -> None:
    go_on = Event()
    script: Script = {"content": [both(wait_for(go_on), say("250 2.0.0 taken")), say("250 2.0.0 taken")]}
    with scripted_relay(script) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker("first", "--concurrency=1")
        receipts = here.postroom.send_letters(letters(here), chunk=LETTERS)
        stop(worker, relay, go_on)
        assert relay.accepted == {"bulk-0@example.com": 1}
        here.worker("second", "--concurrency=1")
        assert {each.wait().state for each in receipts} == {LetterState.SENT}
        assert relay.accepted == Counter(f"bulk-{number}@example.com" for number in range(LETTERS))
        assert {each.status().attempts for each in receipts} == {1}


def letters(here: House) -> list[Letter]:
    """As many as one task carries."""
    return [
        Letter(f"bulk-{number}@example.com", "hi", settings=here.postroom.settings, priority="bulk")
        for number in range(LETTERS)
    ]
