"""One worker after the other is killed -9 with a session and a letter in hand: a relay's limits lose nothing by it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from house import Desk, desk, end_claims
from postroom import LetterState, Receipt
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import ScriptedRelay, say, scripted_relay, silent
from postroom_worker.dev.server import wait_until
from postroom_worker.smtp.pool import NoPlace

PLACES, AT_DOMAIN, ROUNDS = 10, 5, 3
LIMITS = f"connections = {PLACES}, letters_per_s = 200, connections_per_s = 200"
RELAYS = '[relays.default]\nurl = "{url}"\nlimits = {{ {limits} }}\n[relays.default.domains."example.net"]\n{domain}\n'


def killed_in_hand(here: Desk, relay: ScriptedRelay, receipts: Sequence[Receipt], heard: int) -> None:
    """Have a process each for these letters, and kill all of them when the relay has heard of so many letters."""
    children = []
    for receipt in receipts:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                here.deliver(receipt)
            os._exit(0)
        children.append(child)
    wait_until(lambda: relay.verbs.count("DATA") == heard, "each of them has a session, and a letter in hand")
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def all_places(here: Desk) -> int:
    """How many sessions there may be at once, found by having them."""
    pool, to, had = here.office.pool, here.office.relays[0], 0
    with ExitStack() as sessions, suppress(NoPlace):
        while had <= PLACES:
            sessions.enter_context(pool.session(to))
            had += 1
    pool.close()
    return had


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_many_of_them_every_place_and_token_of_the_relay_is_to_be_had(redis_url: str, tmp_path: Path) -> None:
    with scripted_relay({"data": silent}) as relay:
        path = tmp_path / "relays.toml"
        path.write_text(RELAYS.format(url=relay.url, limits=LIMITS, domain=f"connections = {AT_DOMAIN}"))
        settings = {"POSTROOM_RELAYS": str(path), "POSTROOM_LEASE_S": "600", "POSTROOM_DEATHS_MAX": "99"}
        with desk(redis_url, "smtp://127.0.0.1:1", **settings) as here:
            domains = ("example.net", "example.com")
            receipts = [here.accept(f"a-{number}@{domains[number % 2]}") for number in range(PLACES)]
            sessions = here.ledger.keys.relay_sessions("default")
            at_domain = here.ledger.keys.relay_sessions("default", "example.net")
            for rounds in range(1, ROUNDS + 1):
                killed_in_hand(here, relay, receipts, rounds * PLACES)
                assert here.ledger.redis.zcard(sessions) == PLACES
                assert here.ledger.redis.zcard(at_domain) == AT_DOMAIN
                assert all_places(here) == 0, "the dead have them all"
                for places in (sessions, at_domain):  # their leases run out
                    here.ledger.redis.zadd(places, dict.fromkeys(here.ledger.redis.zrange(places, 0, -1), 1))
                assert here.standing().sessions == 0
                assert all_places(here) == PLACES
                end_claims(here.ledger, *receipts)
                assert is_queued(here, receipts), "all can be claimed again"
            relay.scripts = ({"data": say("354 go ahead")},)

            def are_sent() -> bool:
                due = [each.letter_id for each in here.ledger.release_due(100)]
                deliver(here.office, due or [each.id for each in receipts])
                return {each.status().state for each in receipts} == {LetterState.SENT}

            wait_until(are_sent, "all are sent")
            here.office.pool.close()
            assert here.ledger.redis.zcard(sessions) == here.ledger.redis.zcard(at_domain) == 0
        assert set(relay.accepted.values()) == {1}


def is_queued(here: Desk, receipts: Sequence[Receipt]) -> bool:
    """Release what has run out; True when all wait in the queue."""
    here.ledger.release_due(100)
    return {each.status().state for each in receipts} == {LetterState.QUEUED}
