"""No relay is hammered: whatever it answers, what it hears from us in a while has a bound. The relay counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from house import Desk, desk
from postroom import LetterState, Receipt, clock
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import OFFERS, Reaction, both, close, octets, say, scripted_relay

LETTERS = 30
A_WHILE_S = 0.5
FIRST_S, MOST_S = 0.1, 0.2
"""How long letters and relays are left alone, about: at first, and at most."""
WAITS = {
    "POSTROOM_RETRY_FIRST_S": str(FIRST_S),
    "POSTROOM_RETRY_MAX_S": str(MOST_S),
    "POSTROOM_PAUSE_FIRST_S": str(FIRST_S),
    "POSTROOM_PAUSE_MAX_S": str(MOST_S),
}


def busily(here: Desk, is_heard_again: Callable[[], bool]) -> tuple[list[Receipt], float]:
    """Deliver letters as they are due, for a while, without any pause of our own between two looks at the schedule.

    Returns them, and how often a wait can have been over, jitter and all: a loop without a wait comes to hundreds.
    """
    receipts = [here.accept(f"a-{number}@example.com") for number in range(LETTERS)]
    began_s = clock.steady_s()
    deliver(here.office, [each.id for each in receipts])
    while not is_heard_again() or clock.steady_s() - began_s < A_WHILE_S:
        bells = here.ledger.release_due(100)
        if bells:
            deliver(here.office, [each.letter_id for each in bells])
    return receipts, 2 + (clock.steady_s() - began_s) / FIRST_S * 2


HELLO = b"250-relay.example.org\r\n250 PIPELINING\r\n"
ENDS: dict[str, Reaction] = {
    "hangs up": both(octets(HELLO), close),
    "says 421 and hangs up": both(octets(HELLO + b"421 4.3.2 bye\r\n"), close),
    "says more than it was asked": octets(HELLO + b"550 5.1.1 stray\r\n"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_relay_that_greets_us_and_then_ends_every_session_is_left_alone(end: str, redis_url: str) -> None:
    with scripted_relay({"ehlo": ENDS[end]}) as relay, desk(redis_url, relay.url, **WAITS) as here:
        receipts, times = busily(here, lambda: len(relay.sessions) >= 2)
        assert len(relay.sessions) <= times
        assert relay.taken == []
        assert not any(each.status().state.is_final for each in receipts), "it is the relay's fault"


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("connect", "554 5.7.1 no service"),
        ("connect", "421 4.3.2 bye"),
        ("mail", "421 4.7.0 slow down"),
        ("rcpt", "421 4.3.2 bye"),
    ],
)
def test_a_relay_that_serves_nobody_hears_of_us_once_in_each_pause(step: str, reply: str, redis_url: str) -> None:
    with scripted_relay({step: both(say(reply), close)}) as relay, desk(redis_url, relay.url, **WAITS) as here:
        _, times = busily(here, lambda: len(relay.sessions) >= 2)
        assert len(relay.sessions) <= times
        assert relay.taken == []


def test_a_relay_that_is_down_is_tried_once_in_each_pause(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", **WAITS) as here:
        _, times = busily(here, lambda: here.standing().trips >= 2)
        assert here.standing().trips <= times


@pytest.mark.parametrize(
    ("step", "reply"), [("rcpt", "452 4.5.3 too many"), ("data", "451 4.3.0 later"), ("content", "421 4.3.2 bye")]
)
def test_a_letter_that_is_always_deferred_is_tried_once_in_each_wait(step: str, reply: str, redis_url: str) -> None:
    with scripted_relay({step: say(reply)}) as relay, desk(redis_url, relay.url, **WAITS) as here:
        receipts, times = busily(here, lambda: relay.verbs.count("MAIL") > LETTERS)
        assert relay.verbs.count("MAIL") <= LETTERS * times
        assert relay.verbs.count("MAIL") == sum(each.status().attempts for each in receipts)


def test_a_password_that_was_changed_is_not_tried_by_every_letter(redis_url: str) -> None:
    """Many relays lock an account after a few wrong passwords."""
    with (
        scripted_relay(offers=[*OFFERS, "AUTH PLAIN"], credentials=("us", "of today")) as relay,
        desk(redis_url, f"smtp://us:of%20yesterday@127.0.0.1:{relay.port}", **WAITS) as here,
    ):
        receipts, times = busily(here, lambda: relay.verbs.count("AUTH") >= 2)
        assert relay.verbs.count("AUTH") <= times
        assert "MAIL" not in relay.verbs
        assert {(each.status().state, each.status().attempts) for each in receipts} <= {
            (LetterState.DEFERRED, 0),
            (LetterState.QUEUED, 0),
        }
