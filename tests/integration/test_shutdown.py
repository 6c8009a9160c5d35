"""SIGTERM: the letters in flight are finished, the others are put back, and nothing is uncertain that need not be."""

from __future__ import annotations

import signal
from collections import Counter
from threading import Event

from house import House, NewHouse
from postroom import Letter, LetterState
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.scripted_relay import Script, ScriptedRelay, Session, both, say, scripted_relay, wait_for
from postroom_worker.dev.server import wait_until

LETTERS = 30
IN_FLIGHT = 16


def stop(worker: Worker, relay: ScriptedRelay, waiting: int, go_on: Event) -> None:
    """Ask a worker to stop while the relay keeps it waiting in so many sessions; then let them go on."""
    wait_until(lambda: sum(each.is_waiting for each in relay.sessions) == waiting, "the relay keeps it waiting")
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.log.read_text(), "it knows that it is to stop")
    assert worker.process.poll() is None, "it waits for the letters in hand"
    go_on.set()
    wait_until(lambda: worker.process.poll() is not None, "it has stopped")
    assert worker.process.returncode == 0


def test_the_letters_in_hand_are_finished(new_house: NewHouse) -> None:
    go_on = Event()

    def at_data(session: Session) -> None:
        if session.is_for("before@example.com"):
            wait_for(go_on)(session)
        say("354 go ahead")(session)

    with scripted_relay({"data": at_data, "content": both(wait_for(go_on), say("250 2.0.0 taken"))}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker()
        receipts = [here.postroom.send_letter(f"{step}@example.com", "hi") for step in ("before", "after")]
        stop(worker, relay, 2, go_on)
        for receipt in receipts:
            assert receipt.status().state is LetterState.SENT
            assert here.events(receipt) == ["queued", "attempt"]
        assert relay.accepted == {"before@example.com": 1, "after@example.com": 1}
        wait_until(lambda: all(each.ended for each in relay.sessions), "the sessions have ended")
        assert {each.ended for each in relay.sessions} == {"quit"}, "no slot is left open at the relay"


def test_the_letters_in_flight_are_finished_and_those_behind_them_put_back_for_another_worker(
    new_house: NewHouse,
) -> None:
    go_on = Event()
    script: Script = {"content": [both(wait_for(go_on), say("250 2.0.0 taken")), say("250 2.0.0 taken")]}
    with scripted_relay(script) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url, POSTROOM_SESSIONS="1")
        worker = here.worker("first", "--concurrency=1")
        receipts = here.postroom.send_letters(letters(here), chunk=LETTERS)
        stop(worker, relay, 1, go_on)
        assert 1 <= len(relay.taken) <= IN_FLIGHT
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
