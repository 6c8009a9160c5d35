"""Several relays: one that is down is left alone, the next one serves, and what is uncertain goes nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from house import Desk, desk
from postroom import LetterState, RecipientState
from postroom.ledger import views
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import (
    Script,
    ScriptedRelay,
    both,
    close,
    only_to,
    reset,
    say,
    scripted_relay,
    wait_for,
)
from postroom_worker.dev.server import free_port, wait_until

BUSY = both(say("421 4.3.2 busy"), close)


@contextmanager
def two_relays(
    redis_url: str, folder: Path, first: Script, second: Script, more: str = "", **settings: str
) -> Iterator[tuple[Desk, ScriptedRelay, ScriptedRelay]]:
    """A desk with a first relay and a second one."""
    with scripted_relay(first) as one, scripted_relay(second) as two:
        (folder / "relays.toml").write_text(
            f'[relays.first]\nurl = "{one.url}"\n[relays.second]\nurl = "{two.url}"\n{more}'
        )
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(folder / "relays.toml"), **settings) as here:
            yield here, one, two


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data"])
def test_a_letter_goes_to_the_next_relay_at_once_and_loses_no_attempt(
    step: str, redis_url: str, tmp_path: Path
) -> None:
    with two_relays(redis_url, tmp_path, {step: BUSY}, {}) as (here, _, second):
        receipt = here.accept(["ann@example.com", "ben@example.com"])
        status = here.deliver(receipt)
        assert status.state is LetterState.SENT
        assert {each.attempts for each in status.recipients.values()} == {1}
        assert second.accepted == {"ann@example.com": 1, "ben@example.com": 1}
        attempt = views.account(here.ledger, receipt.id).history[-1]
        assert attempt["relay"] == "second"
        assert [each["relay"] for each in attempt["turned_away"]] == ["first"]


def test_a_relay_that_is_down_stays_visible_though_another_serves(redis_url: str, tmp_path: Path) -> None:
    pause = {"POSTROOM_PAUSE_FIRST_S": "60", "POSTROOM_PAUSE_MAX_S": "60"}
    with two_relays(redis_url, tmp_path, {"connect": BUSY}, {}, **pause) as (here, first, _):
        for number in range(3):
            assert here.deliver(here.accept(f"a-{number}@example.com")).state is LetterState.SENT
        assert len(first.sessions) == 1, "it is left alone"
        standing = here.standing("first")
        assert (standing.state, standing.why) == ("open", "421 4.3.2 busy")
        assert here.standing("second").state == "closed"


def test_who_was_accepted_at_the_first_relay_is_not_mailed_by_the_second(redis_url: str, tmp_path: Path) -> None:
    script = {"mail": [say("250 ok"), BUSY]}
    limits = "limits = { recipients_per_transaction = 1 }\n"
    with scripted_relay(script) as one, scripted_relay() as two:
        (tmp_path / "relays.toml").write_text(
            f'[relays.first]\nurl = "{one.url}"\n{limits}[relays.second]\nurl = "{two.url}"\n'
        )
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(tmp_path / "relays.toml")) as here:
            status = here.deliver(here.accept(["ann@example.com", "ben@example.com"]))
            # The session's own end costs nothing: it is begun anew, and there the relay says the same.
            assert status.state is LetterState.SENT
            assert one.accepted + two.accepted == {"ann@example.com": 1, "ben@example.com": 1}


@pytest.mark.parametrize("policy", ["hold", "resend"])
def test_a_letter_that_may_have_been_accepted_goes_to_no_other_relay(
    policy: str, redis_url: str, tmp_path: Path
) -> None:
    with two_relays(redis_url, tmp_path, {"content": reset}, {}) as (here, _, second):
        status = here.deliver(here.accept("ann@example.com", on_uncertain=policy))
        assert status.state is (LetterState.HELD if policy == "hold" else LetterState.DEFERRED)
        assert second.taken == []


def test_a_letter_that_a_relay_turned_away_is_not_tried_there_through_another_session(
    redis_url: str, tmp_path: Path
) -> None:
    is_paused = Event()

    def wait_for_pause() -> None:
        wait_until(lambda: here.standing("first").state == "open", "the first relay is paused")
        is_paused.set()

    slow = {"content": both(wait_for(is_paused), say("250 ok"))}
    with scripted_relay({"rcpt": BUSY}, slow) as one, scripted_relay() as two:
        (tmp_path / "relays.toml").write_text(
            f'[relays.first]\nurl = "{one.url}"\n[relays.second]\nurl = "{two.url}"\n'
        )
        settings = {
            "POSTROOM_RELAYS": str(tmp_path / "relays.toml"),
            "POSTROOM_SESSIONS": "2",
            "POSTROOM_PAUSE_FIRST_S": "60",
            "POSTROOM_PAUSE_MAX_S": "60",
        }
        with desk(redis_url, "smtp://127.0.0.1:1", **settings) as here:
            here.office.pace.keeps_waiting("first")  # so both sessions begin at once
            receipts = [here.accept(f"a-{number}@example.com") for number in range(8)]
            watch = Thread(target=wait_for_pause)
            watch.start()
            deliver(here.office, [each.id for each in receipts])
            watch.join()
            attempts = [views.account(here.ledger, each.id).history[-1] for each in receipts]
    [turned_away] = [each for each in attempts if "turned_away" in each]
    assert [each["relay"] for each in turned_away["turned_away"]] == ["first"]
    assert turned_away["relay"] == "second"
    assert sum((one.accepted + two.accepted).values()) == 8


def test_a_letter_that_names_its_relay_waits_for_that_one(redis_url: str, tmp_path: Path) -> None:
    with two_relays(redis_url, tmp_path, {"connect": BUSY}, {}) as (here, _, second):
        assert here.deliver(here.accept("ann@example.com", relay="first")).state is LetterState.DEFERRED
        assert here.deliver(here.accept("ann@example.com", relay="second")).state is LetterState.SENT
        assert second.accepted == {"ann@example.com": 1}


def test_when_all_relays_are_down_letters_wait_and_go_out_as_soon_as_one_is_back(
    redis_url: str, tmp_path: Path
) -> None:
    down = {"connect": [BUSY]}
    with two_relays(redis_url, tmp_path, down, {"connect": BUSY}) as (here, first, second):
        receipts = [here.accept(f"a-{number}@example.com") for number in range(5)]
        for receipt in receipts:
            status = here.deliver(receipt)
            assert status.state is LetterState.DEFERRED
            assert status.attempts == 0
        first.scripts = second.scripts = ({},)

        def are_sent() -> bool:
            for bell in here.ledger.release_due(10):
                here.deliver(next(each for each in receipts if each.id == bell.letter_id))
            return all(each.status().state is LetterState.SENT for each in receipts)

        wait_until(are_sent, "all are sent")
        assert sum((first.accepted + second.accepted).values()) == 5
        assert all(each.status().attempts == 1 for each in receipts)


def test_letters_go_to_the_relay_that_is_for_them(redis_url: str, tmp_path: Path) -> None:
    with scripted_relay() as news, scripted_relay() as rest:
        (tmp_path / "relays.toml").write_text(
            f'[relays.rest]\nurl = "{rest.url}"\n[relays.news]\nurl = "{news.url}"\ntags = ["news"]\n'
        )
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(tmp_path / "relays.toml")) as here:
            here.deliver(here.accept("ann@example.com", tags=["news"]))
            here.deliver(here.accept("ben@example.com"))
            assert (news.accepted, rest.accepted) == ({"ann@example.com": 1}, {"ben@example.com": 1})


def test_only_those_whom_the_first_relay_did_not_decide_go_on(redis_url: str, tmp_path: Path) -> None:
    script = {"rcpt": only_to("no@example.com", say("550 5.1.1 nobody"))}
    with two_relays(redis_url, tmp_path, script | {"data": BUSY}, {}) as (here, _, second):
        status = here.deliver(here.accept(["no@example.com", "ann@example.com"]))
        assert status.recipients["no@example.com"].state is RecipientState.REFUSED
        assert second.accepted == {"ann@example.com": 1}


def test_a_port_where_nobody_listens_is_passed_by(redis_url: str, tmp_path: Path) -> None:
    with scripted_relay() as second:
        (tmp_path / "relays.toml").write_text(
            f'[relays.gone]\nurl = "smtp://127.0.0.1:{free_port()}"\n[relays.second]\nurl = "{second.url}"\n'
        )
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(tmp_path / "relays.toml")) as here:
            assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
