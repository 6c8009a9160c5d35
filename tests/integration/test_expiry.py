"""expires_in, and giving up: what is worthless is never sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from house import House, NewHouse, desk
from postroom import LetterState, RecipientState, clock
from postroom_worker.dev.scripted_relay import Session, say, scripted_relay
from postroom_worker.dev.server import wait_until


def test_a_letter_that_expired_before_a_worker_came_is_never_sent(new_house: NewHouse) -> None:
    here = new_house()
    receipt = here.postroom.send_letter(["reset@example.com", "copy@example.com"], "code 1234", expires_in=0.01)
    wait_until(lambda: here.ledger.now_ms() / 1000 > receipt.status().accepted_at + 0.01, "its time is over")
    here.worker()
    status = receipt.wait()
    assert status.state is LetterState.FAILED
    assert {each.state for each in status.recipients.values()} == {RecipientState.EXPIRED}
    assert "expires_in" in status.reason
    assert here.relay.named == {}
    assert here.events(receipt) == ["queued", "expired"]


def test_a_letter_whose_retry_would_come_too_late_expires_at_once(redis_url: str) -> None:
    script = {"rcpt": [say("250 2.1.5 ok"), say("451 4.7.1 later")]}
    waits = {"POSTROOM_RETRY_FIRST_S": "1000", "POSTROOM_RETRY_MAX_S": "1000"}
    with scripted_relay(script) as relay, desk(redis_url, relay.url, **waits) as here:
        status = here.deliver(here.accept(["quick@example.com", "grey@example.com"], expires_in=100))
        assert status.state is LetterState.PARTIAL
        assert status.recipients["quick@example.com"].state is RecipientState.ACCEPTED
        late = status.recipients["grey@example.com"]
        assert late.state is RecipientState.EXPIRED
        assert late.reply == "451 4.7.1 later", "what the server last said stays"
        assert relay.accepted == {"quick@example.com": 1}


def test_a_letter_that_expires_on_the_way_is_withheld_before_its_end(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady_s = clock.steady_s

    def expire_first(session: Session) -> None:
        monkeypatch.setattr(clock, "steady_s", lambda: steady_s() + 60)
        say("354 go ahead")(session)

    with scripted_relay({"data": expire_first}) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("on-the-way@example.com", expires_in=60)
        status = here.deliver(receipt)
        assert relay.verbs[-1] == "DATA", "it was as good as sent"
        assert relay.accepted == {}
    assert status.state is LetterState.FAILED
    assert status.recipients["on-the-way@example.com"].state is RecipientState.EXPIRED


def test_who_was_accepted_before_it_was_too_late_for_the_others_stays_so(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady_s = clock.steady_s

    def expire_first(session: Session) -> None:
        monkeypatch.setattr(clock, "steady_s", lambda: steady_s() + 60)
        say("354 go ahead")(session)

    script = {"data": [say("354 go ahead"), expire_first]}
    relays = tmp_path / "relays.toml"
    with scripted_relay(script) as relay:
        relays.write_text(f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ recipients_per_transaction = 1 }}\n')
        with desk(redis_url, relay.url, POSTROOM_RELAYS=str(relays)) as here:
            receipt = here.accept(["quick@example.com", "late@example.com"], expires_in=60)
            status = here.deliver(receipt)
        assert relay.accepted == {"quick@example.com": 1}
    assert status.state is LetterState.PARTIAL
    assert status.recipients["quick@example.com"].state is RecipientState.ACCEPTED
    assert status.recipients["late@example.com"].state is RecipientState.EXPIRED


def test_the_time_of_a_scheduled_letter_counts_from_when_it_is_sent(shared: House) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=0.3)
    receipt = shared.postroom.send_letter("scheduled-reset@example.com", "hi", send_at=moment, expires_in=60)
    assert receipt.wait().state is LetterState.SENT


def test_the_time_of_a_letter_that_came_late_counts_from_when_it_was_to_be_sent(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        asked = datetime.now(UTC) - timedelta(hours=2)
        receipt = here.accept("late-reset@example.com", send_at=asked, expires_in=timedelta(hours=1))
        here.ledger.release_due(10)
        assert here.deliver(receipt).state is LetterState.FAILED
        assert relay.accepted == {}


def test_a_letter_deferred_for_too_long_is_given_up(redis_url: str) -> None:
    waits = {"POSTROOM_RETRY_FIRST_S": "1000", "POSTROOM_RETRY_MAX_S": "1000", "POSTROOM_GIVE_UP_S": "100"}
    with scripted_relay({"rcpt": say("451 4.7.1 later")}) as relay, desk(redis_url, relay.url, **waits) as here:
        status = here.deliver(here.accept("never@example.com"))
        assert status.state is LetterState.FAILED
        assert status.recipients["never@example.com"].state is RecipientState.EXPIRED
        assert status.reason.startswith("given up")
        assert relay.accepted == {}
