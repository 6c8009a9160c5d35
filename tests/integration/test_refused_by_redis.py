"""Redis is well, and a script fails in it each time: by a fault of ours, or a value that somebody else wrote."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from house import desk
from postroom import LetterState, clock
from postroom.ledger import scripts, views
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import scripted_relay
from postroom_worker.dev.server import wait_until

pytestmark = pytest.mark.timeout(120)


def fail(patch: pytest.MonkeyPatch, verb: str, letter_id: str = "") -> None:
    """Have the script of a verb fail in Redis: for one letter, or always."""
    sound = scripts.source
    begin = "local function verb(KEYS, ARGV)\n"
    fault = f"if '{letter_id}' == '' or ARGV[1] == '{letter_id}' then error('a fault of ours') end\n"

    def broken(name: str, *rest: int, may_exceed_memory: bool = False) -> str:
        text = sound(name, *rest, may_exceed_memory=may_exceed_memory)
        return text.replace(begin, begin + fault) if name == verb else text

    patch.setattr(scripts, "source", broken)
    patch.setattr(clock, "pause", lambda _: None)


def test_a_letter_whose_outcome_is_refused_is_left_to_its_lease_and_keeps_no_other(
    redis_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, POSTROOM_LEASE_S="0.2") as here:
        ann, ben = here.accept("ann@example.com"), here.accept("ben@example.com")
        with monkeypatch.context() as patch:
            fail(patch, "finish", ann.id)
            deliver(here.office, [ann.id, ben.id])
        assert (ann.status().state, ben.status().state) == (LetterState.SENDING, LetterState.SENT)
        assert [each.levelno for each in caplog.records if f"{ann.id}: Redis is well" in each.message] == [
            logging.ERROR
        ]

        def is_queued_again() -> bool:
            here.ledger.release_due(10)
            return ann.status().state is LetterState.QUEUED

        wait_until(is_queued_again, "the lease has run out")
        events = [event["event"] for event in views.account(here.ledger, ann.id).history]
        assert "uncertain" in events
        assert here.deliver(ann).state is LetterState.SENT
        assert relay.accepted == {"ann@example.com": 2, "ben@example.com": 1}


def test_a_letter_whose_window_is_refused_is_not_ended(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        ann, ben = here.accept("ann@example.com"), here.accept("ben@example.com")
        with monkeypatch.context() as patch:
            fail(patch, "enter_window", ann.id)
            deliver(here.office, [ann.id, ben.id])
        assert (ann.status().state, ben.status().state) == (LetterState.SENDING, LetterState.SENT)
        assert relay.accepted == {"ben@example.com": 1}


def test_letters_whose_limits_are_refused_wait(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_relay() as relay:
        path = tmp_path / "relays.toml"
        path.write_text(f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ letters_per_s = 99 }}\n')
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path)) as here:
            ann = here.accept("ann@example.com")
            with monkeypatch.context() as patch:
                fail(patch, "admit")
                status = here.deliver(ann)
            assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
            assert relay.accepted == {}
