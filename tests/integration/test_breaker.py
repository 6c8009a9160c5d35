"""A relay that was found down: left alone by all, then probed by one; and what it says too often about us."""

from __future__ import annotations

from itertools import count

import pytest

from house import Desk, desk
from postroom import LetterState
from postroom.ledger import views
from postroom.ledger.suspensions import Suspension, lift, make_due, suspend
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import ScriptedRelay, Session, both, close, only_to, say, scripted_relay
from postroom_worker.dev.server import wait_until

BUSY = both(say("421 4.3.2 busy"), close)
DENIED = say("554 5.7.1 Relay access denied")


def deliver_due(here: Desk) -> None:
    for bell in here.ledger.release_due(100):
        deliver(here.office, [bell.letter_id])


def half_open(here: Desk) -> None:
    wait_until(lambda: here.standing().state == "half-open", "its time is over")


def test_after_a_pause_one_letter_probes_and_the_others_wait_for_it(redis_url: str) -> None:
    with scripted_relay({"connect": BUSY}, {}) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("first@example.com"))
        half_open(here)
        with desk(redis_url, relay.url) as other:
            mine = here.office.breakers["default"]
            theirs = other.office.breakers["default"]
            assert mine.look().state == "probe"
            assert mine.look().state == "half-open", "said to one letter alone"
            assert theirs.look().state == "half-open"
            mine.serves({"example.com"})
            wait_until(lambda: theirs.look().state == "closed", "the others hear of it")


def test_the_letter_that_met_the_pause_comes_after_the_others(redis_url: str) -> None:
    with (
        scripted_relay({"connect": BUSY}, {}) as relay,
        desk(redis_url, relay.url, POSTROOM_PAUSE_FIRST_S="60", POSTROOM_PAUSE_MAX_S="60") as here,
    ):
        culprit, other = here.accept("culprit@example.com"), here.accept("other@example.com")
        here.deliver(culprit)
        here.deliver(other)
        first, last = (each.status().next_attempt_at or 0 for each in (other, culprit))
        assert 0 < first < last


def test_one_letter_that_makes_the_relay_hang_up_does_not_stop_the_others_and_pays_in_the_end(redis_url: str) -> None:
    settings = {"POSTROOM_PAUSE_FIRST_S": "0.02", "POSTROOM_PAUSE_MAX_S": "0.05", "POSTROOM_RETRY_FIRST_S": "3600"}
    script = {"rcpt": only_to("culprit@example.com", BUSY)}
    with scripted_relay(script) as relay, desk(redis_url, relay.url, **settings) as here:
        culprit = here.accept("culprit@example.com")
        here.deliver(culprit)
        others = (here.accept(f"other-{number}@example.com") for number in count())
        sent = []

        def has_paid() -> bool:
            sent.append(next(others))
            here.deliver(sent[-1])
            deliver_due(here)
            return culprit.status().attempts == 1

        wait_until(has_paid, "it pays with an attempt")
        attempts = [each for each in views.account(here.ledger, culprit.id).history if each["event"] == "attempt"]
        assert [each["number"] for each in attempts] == [0, 0, 0, 1]

        def are_sent() -> bool:
            deliver_due(here)
            return all(each.status().state is LetterState.SENT for each in sent)

        wait_until(are_sent, "the others are sent")


def test_a_prober_that_dies_leaves_the_probe_to_another(redis_url: str) -> None:
    with scripted_relay({"connect": BUSY}, {}) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("first@example.com"))
        half_open(here)
        assert here.ledger.relays.knock("default", "who dies", 600_000, 1).state == "probe"
        assert here.ledger.relays.knock("default", "another", 600_000, 1).state == "half-open"
        here.ledger.redis.hset(here.ledger.keys.relay_breaker("default"), "probe_until_ms", 1)  # its time is over
        assert here.ledger.relays.knock("default", "another", 600_000, 1).state == "probe"


def test_a_probe_that_is_not_sent_after_all_does_not_stop_its_worker(redis_url: str) -> None:
    """The letter that was to probe expired on the way, say: nothing is ever heard of it."""
    settings = {"POSTROOM_LEASE_S": "0.3"}
    with scripted_relay({"connect": BUSY}, {}) as relay, desk(redis_url, relay.url, **settings) as here:
        receipt = here.accept("ann@example.com")
        here.deliver(receipt)
        half_open(here)
        assert here.office.breakers["default"].look().state == "probe"

        def is_sent() -> bool:
            deliver_due(here)
            return receipt.status().state is LetterState.SENT

        wait_until(is_sent, "another letter of the same worker probes")


def test_each_pause_in_a_row_is_longer_and_a_probe_that_is_served_ends_them(redis_url: str) -> None:
    with scripted_relay({"connect": BUSY}) as relay, desk(redis_url, relay.url) as here:
        for trips in (1, 2, 3):
            here.deliver(here.accept(f"a-{trips}@example.com"))
            assert here.standing().trips == trips
            half_open(here)
        relay.scripts = ({},)
        wait_until(lambda: here.office.breakers["default"].look(may_probe=False).state == "half-open", "we know it")
        here.deliver(here.accept("last@example.com"))
        assert here.standing().state == "closed"
        assert here.standing().trips == 3, "remembered for a while: it may come and go"


def test_a_relay_paused_by_an_operator_is_left_alone_until_it_is_resumed(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        house = Suspension(kind="relay", name="default", by="ops", why="they move house")
        suspend(here.ledger, house)
        receipt = here.accept("ann@example.com")
        status = here.deliver(receipt)
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert relay.sessions == []
        assert status.reason == "relay default is suspended by ops: they move house"
        lift(here.ledger, house)
        assert sum(make_due(here.ledger, house, by="ops", why="done")) == 1

        def is_sent() -> bool:
            deliver_due(here)
            return receipt.status().state is LetterState.SENT

        wait_until(is_sent, "it is sent")


# --- refusals about us ------------------------------------------------------------------------------------------------


def refused(here: Desk, relay: ScriptedRelay, number: int) -> list[LetterState]:
    return [here.deliver(here.accept(f"a-{each}@example.com")).state for each in range(number)]


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("rcpt", "554 5.7.1 Relay access denied"),
        ("rcpt", "550 5.7.1 Relaying denied"),
        ("mail", "553 5.7.1 Sender address rejected: not owned by user"),
        ("content", "550 5.7.26 unauthenticated mail is not accepted"),
    ],
)
def test_a_relay_that_refuses_us_is_paused_before_it_fails_a_whole_campaign(
    step: str, answer: str, redis_url: str
) -> None:
    settings = {"POSTROOM_REFUSALS_MAX": "5", "POSTROOM_PAUSE_FIRST_S": "60", "POSTROOM_PAUSE_MAX_S": "60"}
    with scripted_relay({step: say(answer)}) as relay, desk(redis_url, relay.url, **settings) as here:
        states = refused(here, relay, 8)
        assert states == [LetterState.FAILED] * 4 + [LetterState.DEFERRED] * 4
        assert here.standing().state == "open"
        assert here.ledger.redis.hget(here.ledger.keys.relay_breaker("default"), "alert") == b"1"
        assert len([each for each in relay.verbs if each == "MAIL"]) <= 5


def test_a_letter_that_is_accepted_ends_the_row(redis_url: str) -> None:
    script = {"rcpt": [DENIED, DENIED, DENIED, say("250 ok"), DENIED, DENIED, DENIED]}
    with scripted_relay(script) as relay, desk(redis_url, relay.url, POSTROOM_REFUSALS_MAX="4") as here:
        states = refused(here, relay, 7)
        assert states.count(LetterState.FAILED) == 6
        assert here.standing().state == "closed"


def test_mailboxes_that_do_not_exist_are_no_storm(redis_url: str) -> None:
    with (
        scripted_relay({"rcpt": say("550 5.1.1 no such mailbox")}) as relay,
        desk(redis_url, relay.url, POSTROOM_REFUSALS_MAX="3") as here,
    ):
        assert refused(here, relay, 6) == [LetterState.FAILED] * 6
        assert here.standing().state == "closed"


def test_an_address_that_the_answer_repeats_makes_it_no_other_answer(redis_url: str) -> None:
    def denied(session: Session) -> None:
        address = session.commands[-1].partition("<")[2].rpartition(">")[0]
        say(f"554 5.7.1 <{address}>: Relay access denied")(session)

    with scripted_relay({"rcpt": denied}) as relay, desk(redis_url, relay.url, POSTROOM_REFUSALS_MAX="3") as here:
        assert refused(here, relay, 3)[-1] is LetterState.DEFERRED


def test_nor_does_its_domain_or_what_numbers_the_answer(redis_url: str) -> None:
    def denied(session: Session) -> None:
        address = session.commands[-1].partition("<")[2].rpartition(">")[0]
        say(f"554 5.7.1 <{address}>: Relay access denied (4f8Kq{session.number}{len(session.commands):04})")(session)

    settings = {"POSTROOM_REFUSALS_MAX": "3", "POSTROOM_PAUSE_FIRST_S": "60", "POSTROOM_PAUSE_MAX_S": "60"}
    with scripted_relay({"rcpt": denied}) as relay, desk(redis_url, relay.url, **settings) as here:
        letters = [here.deliver(here.accept(f"ann@{each}.example")) for each in ("a", "b", "c", "d")]
        assert [each.state for each in letters] == [LetterState.FAILED] * 2 + [LetterState.DEFERRED] * 2
        assert letters[3].reason == letters[2].reason, "who waits learns why, and nobody's address"
        assert letters[3].reason.startswith("relay default is left alone: 554 5.7.1 <…@c.example>: Relay access denied")
