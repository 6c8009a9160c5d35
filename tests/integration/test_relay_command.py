"""``postroom relay``: what an operator sees of the relays, and does to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from house import desk, ledger_at
from postroom import LetterState
from postroom.cli import main
from postroom_worker.dev.scripted_relay import both, close, say, scripted_relay

BUSY = both(say("421 4.3.2 busy"), close)


def run(url: str, environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, ["relay", *arguments], env={**ledger_at(url), **environment})


def test_a_relay_that_is_down_is_shown_with_its_reason(redis_url: str, tmp_path: Path) -> None:
    with scripted_relay({"connect": BUSY}) as first, scripted_relay() as second:
        path = tmp_path / "relays.toml"
        path.write_text(f'[relays.first]\nurl = "{first.url}"\n[relays.second]\nurl = "{second.url}"\n')
        settings = {"POSTROOM_RELAYS": str(path), "POSTROOM_PAUSE_FIRST_S": "60", "POSTROOM_PAUSE_MAX_S": "60"}
        with desk(redis_url, "smtp://127.0.0.1:1", **settings) as here:
            assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        shown = run(redis_url, settings)
        assert shown.exit_code == 0
        assert "421 4.3.2 busy" in shown.output
        for arguments in (["list", "--json"], ["--json"]):
            rows = [json.loads(line) for line in run(redis_url, settings, *arguments).output.splitlines()]
            assert [(each["relay"], each["state"]) for each in rows] == [("first", "open"), ("second", "closed")]


def test_a_relay_is_paused_and_resumed(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, POSTROOM_RETRY_MAX_S="3600") as here:
        settings = {"POSTROOM_RELAY_URL": relay.url}
        waits = here.accept("ann@example.com")
        paused = run(redis_url, settings, "pause", "default", "--reason", "they move house", "--json")
        assert json.loads(paused.stdout) == {"what": "relay default", "for_ms": None}
        assert "1 more on their way" in paused.stderr
        assert here.deliver(waits).state is LetterState.DEFERRED
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.DEFERRED
        assert "they move house" in run(redis_url, settings).output
        resumed = run(redis_url, settings, "resume", "default", "--json")
        assert json.loads(resumed.stdout) == {"what": "relay default", "letters": 2}
        assert here.standing().state == "closed"
        audited = CliRunner().invoke(main, ["audit"], env=ledger_at(redis_url))
        assert "they move house" in audited.output


@pytest.mark.parametrize("arguments", [("pause", "other"), ("resume", "other"), ("test", "other")])
def test_a_relay_that_is_not_there_is_named_with_those_that_are(arguments: tuple[str, str], redis_url: str) -> None:
    found = run(redis_url, {"POSTROOM_RELAY_URL": "smtp://127.0.0.1:1"}, *arguments)
    assert found.exit_code == 2
    assert "default" in found.output


def test_a_relay_is_tried_without_a_letter(redis_url: str) -> None:
    with scripted_relay() as relay:
        settings = {"POSTROOM_RELAY_URL": relay.url}
        found = run(redis_url, settings, "test", "default")
        assert found.exit_code == 0
        assert "PIPELINING" in found.output
        told = json.loads(run(redis_url, settings, "test", "default", "--trace", "--json").stdout)
        assert (told["lets_us_in"], "PIPELINING" in told["offers"]) == (True, True)
        assert told["dialogue"][-1] == "C: QUIT"
        assert relay.taken == []
    with scripted_relay({"ehlo": say("550 go away")}) as relay:
        found = run(redis_url, {"POSTROOM_RELAY_URL": relay.url}, "test", "default", "--json")
        assert found.exit_code == 1
        assert "go away" in found.stderr
        assert "550 go away" in json.loads(found.stdout)["why"]
