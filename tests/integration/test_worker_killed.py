"""kill -9 of a worker with letters in hand: their claims run out, and another worker goes on with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

import pytest

from brokers import Broker
from house import House, end_claims, house
from postroom import LetterState, Receipt
from postroom.ledger import Ledger
from postroom_worker.dev.scripted_relay import ScriptedRelay, Session, say, scripted_relay, silent
from postroom_worker.dev.server import wait_until

BEFORE, RESEND, HOLD = "before@example.com", "resend@example.com", "hold@example.com"
OTHERS = [f"other-{number}@example.com" for number in range(10)]


@dataclass(frozen=True, slots=True)
class Killed:
    """A worker that was killed with three letters in hand, and what became of them."""

    here: House
    relay: ScriptedRelay
    was_renewed_without_main: bool
    """While the worker's main process stood still (SIGSTOP)."""
    was_renewed: bool
    before: Receipt
    """The relay did not ask for its content yet."""
    resend: Receipt
    """The relay has its whole content, and did not answer yet."""
    hold: Receipt
    """The same; it is not to be sent again when that is uncertain."""
    others: list[Receipt]
    """Handed in while the three were in hand; they went to another worker."""


def _lease_ms(ledger: Ledger, receipt: Receipt) -> float:
    """When the claim of a letter runs out."""
    index = ledger.keys.index_of(receipt.id, LetterState.SENDING)
    return cast("float", ledger.redis.zscore(index, receipt.id))


@pytest.fixture(scope="module")
def killed(
    empty_database: Callable[[], str],
    new_broker: Callable[[], Broker | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Killed]:
    """Kill a worker, and let another go on."""

    def is_first(session: Session) -> bool:
        return session.number < 3

    def at_data(session: Session) -> None:
        (silent if is_first(session) and session.is_for(BEFORE) else say("354 go ahead"))(session)

    def at_end(session: Session) -> None:
        (silent if is_first(session) else say("250 2.0.0 taken"))(session)

    with ExitStack() as running:
        relay = running.enter_context(scripted_relay({"data": at_data, "content": at_end}))
        settings = {"POSTROOM_RELAY_URL": relay.url, "POSTROOM_LEASE_S": "6"}
        here = running.enter_context(
            house(tmp_path_factory.mktemp("killed"), empty_database(), new_broker(), **settings)
        )
        first = here.worker("first", "--concurrency=3")
        before, resend = (here.postroom.send_letter(to, "hi") for to in (BEFORE, RESEND))
        hold = here.postroom.send_letter(HOLD, "hi", on_uncertain="hold")
        in_hand = (before, resend, hold)
        wait_until(
            lambda: relay.verbs.count("DATA") == 3 and sum(each.has_content for each in relay.sessions) == 2,
            "the relay has all three in hand",
        )
        os.kill(first.process.pid, signal.SIGSTOP)
        leases = {each.id: _lease_ms(here.ledger, each) for each in in_hand}
        without_main = wait_until(
            lambda: all(_lease_ms(here.ledger, each) > leases[each.id] for each in in_hand),
            "the claims are renewed",
        )
        here.worker("second")
        others = [here.postroom.send_letter(to, "hi") for to in OTHERS]
        for each in others:
            each.wait()
        was_renewed = {each.status().state for each in in_hand} == {LetterState.SENDING}
        first.kill()
        end_claims(here.ledger, *in_hand)
        for each in in_hand:
            each.wait()
        yield Killed(here, relay, without_main, was_renewed, before, resend, hold, others)


def test_a_claim_is_renewed_as_long_as_its_worker_lives(killed: Killed) -> None:
    assert killed.was_renewed


def test_the_main_process_of_a_worker_is_not_needed_for_that(killed: Killed) -> None:
    assert killed.was_renewed_without_main


def test_what_one_worker_has_in_hand_does_not_hold_up_the_others(killed: Killed) -> None:
    assert {each.status().state for each in killed.others} == {LetterState.SENT}
    assert [killed.relay.accepted[to] for to in OTHERS] == [1] * len(OTHERS)


def test_a_letter_whose_worker_dies_before_its_end_was_sent_is_delivered_by_another(killed: Killed) -> None:
    status = killed.before.status()
    assert status.state is LetterState.SENT
    assert status.recipients[BEFORE].attempts == 1, "a worker's death is no attempt of the letter"
    assert killed.relay.accepted[BEFORE] == 1
    assert killed.here.events(killed.before) == ["queued", "died", "attempt"]


def test_a_letter_whose_worker_dies_in_the_window_is_sent_again(killed: Killed) -> None:
    assert killed.resend.status().state is LetterState.SENT
    assert killed.relay.accepted[RESEND] == 1, "the relay had not taken the first one"
    assert killed.here.events(killed.resend) == ["queued", "uncertain", "attempt"]


def test_a_letter_under_hold_whose_worker_dies_in_the_window_is_held(killed: Killed) -> None:
    status = killed.hold.status()
    assert status.state is LetterState.HELD
    assert status.reason == "uncertain: it may have been accepted"
    assert killed.relay.accepted[HOLD] == 0
    assert killed.here.events(killed.hold) == ["queued", "uncertain", "held"]
