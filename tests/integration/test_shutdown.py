"""SIGTERM: the letters in flight are finished, the others are put back, and nothing is uncertain that need not be."""

from __future__ import annotations

import os
import signal
from collections import Counter
from threading import Event

from house import House, NewHouse, end_claims
from postroom import Letter, LetterState, Receipt
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.scripted_relay import (
    Reaction,
    Script,
    ScriptedRelay,
    Session,
    both,
    say,
    scripted_relay,
    silent,
    wait_for,
)
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


PHASES = ("mail", "rcpt", "data", "content")


def test_the_letters_in_hand_are_finished_wherever_they_are(new_house: NewHouse) -> None:
    go_on = Event()

    def waiting(step: str, polite: str) -> Reaction:
        def react(session: Session) -> None:
            if any(f"<{step}@" in command for command in session.commands):
                wait_for(go_on)(session)
            say(polite)(session)

        return react

    polite = dict(zip(PHASES, ("250 ok", "250 ok", "354 go ahead", "250 2.0.0 taken"), strict=True))
    with scripted_relay({step: waiting(step, reply) for step, reply in polite.items()}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker("worker", f"--concurrency={len(PHASES)}")
        receipts = [
            here.postroom.send_letter(f"{step}@example.com", "hi", envelope_from=f"{step}@example.org")
            for step in PHASES
        ]
        stop(worker, relay, len(PHASES), go_on)
        for receipt in receipts:
            assert receipt.status().state is LetterState.SENT
            assert here.events(receipt) == ["queued", "attempt"]
        assert relay.accepted == {f"{step}@example.com": 1 for step in PHASES}
        wait_until(lambda: all(each.ended for each in relay.sessions), "the sessions have ended")
        assert {each.ended for each in relay.sessions} == {"quit"}, "no slot is left open at the relay"


def test_a_worker_that_is_not_left_its_time_has_told_what_is_uncertain(new_house: NewHouse) -> None:
    """The relay never answers the end. A second SIGTERM changes nothing; after the grace comes SIGKILL."""
    with scripted_relay({"content": silent}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker()
        hold = here.postroom.send_letter("hold@example.com", "hi", on_uncertain="hold")
        resend = here.postroom.send_letter("resend@example.com", "hi")
        wait_until(lambda: sum(each.has_content for each in relay.sessions) == 2, "the relay has both")
        for _ in range(2):
            worker.process.send_signal(signal.SIGTERM)
            wait_until(lambda: "Warm shutdown" in worker.log.read_text(), "it is to stop")
        assert worker.process.poll() is None
        worker.kill()

        def is_told(receipt: Receipt, *events: str) -> bool:
            end_claims(here.ledger, receipt)
            here.ledger.release_due(10)
            return here.events(receipt) == ["queued", *events]

        wait_until(lambda: is_told(hold, "uncertain", "held"), "the one is held")
        wait_until(lambda: is_told(resend, "uncertain"), "the other is to be sent again")
        assert hold.status().state is LetterState.HELD


def test_ctrl_c_in_a_terminal_reaches_the_children_too_and_the_letter_in_hand_is_finished(new_house: NewHouse) -> None:
    go_on = Event()
    with scripted_relay({"content": both(wait_for(go_on), say("250 2.0.0 taken"))}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker("worker", "--concurrency=1")
        receipt = here.postroom.send_letter("ann@example.com", "hi")
        wait_until(lambda: sum(each.is_waiting for each in relay.sessions) == 1, "the relay keeps it waiting")
        os.killpg(worker.process.pid, signal.SIGINT)
        wait_until(lambda: "Warm shutdown" in worker.log.read_text(), "it knows that it is to stop")
        go_on.set()
        wait_until(lambda: worker.process.poll() is not None, "it has stopped")
        assert here.events(receipt) == ["queued", "attempt"]
        assert relay.accepted == {"ann@example.com": 1}
        wait_until(lambda: [each.ended for each in relay.sessions] == ["quit"], "it has said QUIT")


def test_a_worker_that_is_to_quit_at_once_has_told_what_is_uncertain(new_house: NewHouse) -> None:
    with scripted_relay({"content": silent}) as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        worker = here.worker("worker", "--concurrency=1")
        receipt = here.postroom.send_letter("ann@example.com", "hi", on_uncertain="hold")
        wait_until(lambda: sum(each.has_content for each in relay.sessions) == 1, "the relay has it")
        worker.process.send_signal(signal.SIGQUIT)
        wait_until(lambda: worker.process.poll() is not None, "it has stopped")

        def is_held() -> bool:
            end_claims(here.ledger, receipt)
            here.ledger.release_due(10)
            return receipt.status().state is LetterState.HELD

        wait_until(is_held, "it is held")
        assert here.events(receipt) == ["queued", "uncertain", "held"]


def test_a_process_that_has_done_its_share_says_quit(new_house: NewHouse) -> None:
    with scripted_relay() as relay:
        here = new_house(POSTROOM_RELAY_URL=relay.url)
        receipts = [here.postroom.send_letter(f"a-{number}@example.com", "hi") for number in range(2)]
        here.worker("worker", "--concurrency=1", "--max-tasks-per-child=1")
        for receipt in receipts:
            here.wait_for(receipt, LetterState.SENT)
            assert here.events(receipt) == ["queued", "attempt"]
        wait_until(lambda: [each.ended for each in relay.sessions] == ["quit"] * 2, "each has said QUIT")


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
