"""Which relay a letter went through, or waits for: shown, chosen letters by, counted; and another one for a retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from house import Desk, desk, ledger_at
from postroom import LetterState
from postroom.cli import main
from postroom.ledger.suspensions import Suspension, suspend
from postroom.ledger.views import account
from postroom.ledger.workers import sign_in
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import ScriptedRelay, say, scripted_relay

NO = say("550 5.7.1 not here")


@contextmanager
def two_relays(redis_url: str, folder: Path) -> Iterator[tuple[Desk, ScriptedRelay, ScriptedRelay]]:
    """A desk with a relay that refuses everything, and after it one that takes all."""
    with scripted_relay({"content": NO}) as first, scripted_relay() as second:
        path = folder / "relays.toml"
        path.write_text(f'[relays.first]\nurl = "{first.url}"\n[relays.second]\nurl = "{second.url}"\n')
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path)) as here:
            yield here, first, second


def done(url: str, *arguments: str) -> str:
    found = CliRunner().invoke(main, arguments, env=ledger_at(url))
    assert found.exit_code == 0, found.output
    return found.stdout


def deliver_due(here: Desk) -> None:
    deliver(here.office, [each.letter_id for each in here.ledger.release_due(100, early_ms=10**9)])


def test_a_failed_letter_is_sent_again_through_another_relay(redis_url: str, tmp_path: Path) -> None:
    with two_relays(redis_url, tmp_path) as (here, _, second):
        receipt = here.accept("ann@example.com", relay="first")
        assert here.deliver(receipt).state is LetterState.FAILED
        sign_in(here.ledger, "a@host", "1.0", ["first", "second"])
        done(redis_url, "retry", receipt.id, "--relay", "second", "--reason", "the first has us on a list")
        assert json.loads(done(redis_url, "explain", receipt.id, "--json"))["relay"].startswith(
            "it goes through second"
        )
        deliver_due(here)
        assert receipt.status().state is LetterState.SENT
        assert len(second.taken) == 1
        event = next(each for each in account(here.ledger, receipt.id).history if each["event"] == "retried")
        assert event["relay"] == "second"


def test_a_further_retry_without_a_relay_goes_where_the_letter_says(redis_url: str, tmp_path: Path) -> None:
    with two_relays(redis_url, tmp_path) as (here, first, second):
        second.scripts = ({"content": NO},)
        receipt = here.accept("ann@example.com", relay="first")
        here.deliver(receipt)
        for arguments, sessions in ((["--relay", "second"], (1, 1)), ([], (1, 1))):
            done(redis_url, "retry", receipt.id, *arguments)
            deliver_due(here)
            assert (len(first.sessions), len(second.sessions)) == sessions
        assert (receipt.status().relay, receipt.status().attempts) == ("first", 3)


def test_letters_are_chosen_and_counted_by_their_relay(redis_url: str, tmp_path: Path) -> None:
    with two_relays(redis_url, tmp_path) as (here, _, second):
        second.scripts = ({"content": NO},)
        refused = here.accept("ann@example.com", relay="first")
        waiting = here.accept("ben@example.com", relay="second")
        here.deliver(refused)
        suspend(here.ledger, Suspension(kind="relay", name="second"))
        here.office.orders._asked_s = float("-inf")
        here.deliver(waiting)
        for relay, receipt in (("first", refused), ("second", waiting)):
            assert json.loads(done(redis_url, "list", "--relay", relay, "--json"))["id"] == receipt.id
            assert f'"relay": "{relay}"' in done(redis_url, "show", receipt.id, "--json")
        assert "first" in done(redis_url, "stats")
        assert json.loads(done(redis_url, "stats", "--json"))["relays"] == [
            {"relay": "second", "letters": 1},
            {"relay": "first", "letters": 1},
        ]
        done(redis_url, "retry", "--last-relay", "first", "--yes")
        assert refused.status().state is LetterState.QUEUED
