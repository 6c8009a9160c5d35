"""Clocks jump, that of Redis or of a worker: an hour either way, or to the seventies. No letter is stranded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from house import Desk, NewHouse, desk
from postroom import LetterState, Receipt
from postroom.bell import Bells
from postroom.broker import QUEUE
from postroom.ledger import Claim
from postroom.ledger.relays import Demand
from postroom_worker.dev.capture import greylisted
from postroom_worker.dev.scripted_relay import say, scripted_relay
from postroom_worker.dev.server import server, wait_until
from postroom_worker.timer import longest_waits_ms, tick

JUMPS = {"an hour ahead": "+3600", "an hour back": "-3600", "back to the seventies": "-1700000000"}
SHORT = {"POSTROOM_BELL_S": "0.2", "POSTROOM_LEASE_S": "0.2"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What makes the clock of a child process ours; all that measures waits in it stays right."""
    found = find_spec("libfaketime")
    if found is None or found.origin is None:
        pytest.skip("the package libfaketime is not installed")
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    if not library.exists():
        pytest.skip("libfaketime has no library for this system")
    (tmp_path / "clock").write_text("+0")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@pytest.fixture
def jump(tmp_path: Path) -> Callable[[str], object]:
    """Moves that clock by so many seconds from the right time."""
    return (tmp_path / "clock").write_text


@pytest.fixture
def redis_with_clock(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """A server whose clock is ours."""
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            started = running.enter_context(server(tmp_path / "redis"))
        yield started.url


def deferred(here: Desk) -> Receipt:
    """A letter that was greylisted just now."""
    receipt = here.accept("deferred@example.com")
    assert here.deliver(receipt).state is LetterState.DEFERRED
    return receipt


def abandoned(here: Desk) -> Receipt:
    """A letter whose worker died."""
    receipt = here.accept("abandoned@example.com")
    [claim] = here.ledger.claim([receipt.id], "w")
    assert isinstance(claim, Claim)
    return receipt


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
def test_whatever_the_clock_of_redis_does_every_letter_that_waits_is_rung_for_soon(
    seconds: str, redis_with_clock: str, jump: Callable[[str], object]
) -> None:
    with (
        scripted_relay({"rcpt": say("451 4.7.1 greylisted")}) as relay,
        desk(redis_with_clock, relay.url, **SHORT) as here,
    ):
        waiting = [here.accept("queued@example.com"), deferred(here), abandoned(here)]
        jump(seconds)
        bells = Bells.of(here.office.settings)
        longest_ms = longest_waits_ms(here.office.settings) | {LetterState.DEFERRED: 200}

        def is_rung_for() -> bool:
            tick(here.ledger, bells, 0, longest_ms, "desk")
            return here.ledger.redis.llen(QUEUE) >= len(waiting)

        wait_until(is_rung_for, "bells ring for all")
        assert {each.status().state for each in waiting} == {LetterState.QUEUED}


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
def test_whatever_the_clock_of_redis_does_no_relay_is_left_alone_for_longer(
    seconds: str, redis_with_clock: str, jump: Callable[[str], object]
) -> None:
    with desk(redis_with_clock, "smtp://127.0.0.1:1") as here:
        relays = here.ledger.relays

        def is_tried(relay: str) -> bool:
            return relays.knock(relay, "me", 200, 1).state == "probe"

        relays.trip("down", 200, "421 4.3.2 down")
        relays.trip("probed", 1, "421 4.3.2 down")
        wait_until(lambda: relays.knock("probed", "one who dies", 200, 1).state == "probe", "it is probed")
        jump(seconds)
        for relay in ("down", "probed"):
            wait_until(partial(is_tried, relay), f"{relay} is tried")


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
def test_whatever_the_clock_of_redis_does_the_limits_of_a_relay_admit_letters(
    seconds: str, redis_with_clock: str, jump: Callable[[str], object]
) -> None:
    with desk(redis_with_clock, "smtp://127.0.0.1:1") as here:
        relays, keys = here.ledger.relays, here.ledger.keys
        rate = Demand(keys.relay_letters("r"), "rate", 5, 0)
        places = Demand(keys.relay_sessions("r"), "places", 1, 10)
        relays.slow("r", "", 5, 100)

        def is_admitted(demand: Demand, by: str) -> bool:
            [(wait_ms, _)] = relays.admit([[demand]], by, 200, bulk=[False])
            return not wait_ms

        assert is_admitted(places, "one who dies")
        assert relays.admit([[rate]] * 6, "me", 200, bulk=[False] * 6)[-1][0] > 0, "the rate is used up"
        jump(seconds)
        wait_until(lambda: is_admitted(rate, "me"), "there are tokens again")
        wait_until(lambda: is_admitted(places, "me"), "there is a place again")
        assert relays.knock("r", "", 0, 100).rates.get("", 5) >= 2.5, "what asked for less is not slowed again by it"


def test_a_worker_whose_clock_jumps_goes_on_as_before(
    environment: dict[str, str], jump: Callable[[str], object], new_house: NewHouse
) -> None:
    here = new_house(**environment)
    here.worker("jumping", "--concurrency=1")
    for place, seconds in enumerate(("+3600", "-3600")):
        address = f"greylisted-{place}@example.com"
        here.answers[address] = greylisted(1)
        jump(seconds)
        receipt = here.postroom.send_letter(address, "hi")
        assert receipt.wait().state is LetterState.SENT
        assert here.accepted(receipt) == {address: 1}
        assert receipt.status().attempts == 2
