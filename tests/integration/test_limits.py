"""The limits of a relay, kept by all workers together: what is over them waits in the schedule, not in a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from house import Desk, desk
from postroom import LetterState, Receipt
from postroom.ledger.relays import Demand
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import Script, ScriptedRelay, say, scripted_relay
from postroom_worker.dev.server import wait_until
from postroom_worker.smtp.pool import NoPlace
from postroom_worker.smtp.session import Session

ANN, BEN, CAT = "ann@example.com", "ben@example.net", "cat@example.com"


@contextmanager
def limited(
    redis_url: str, folder: Path, limits: str, script: Script | None = None, domains: str = "", **settings: str
) -> Iterator[tuple[Desk, ScriptedRelay]]:
    """A desk whose relay has limits."""
    with scripted_relay(script or {}) as relay:
        path = folder / "relays.toml"
        path.write_text(f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ {limits} }}\n{domains}')
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path), **settings) as here:
            yield here, relay


def states(receipts: list[Receipt]) -> list[LetterState]:
    return [each.status().state for each in receipts]


def deliver_all(here: Desk, receipts: list[Receipt]) -> None:
    deliver(here.office, [each.id for each in receipts])


def deliver_due(here: Desk) -> None:
    bells = here.ledger.release_due(100)
    if bells:
        deliver(here.office, [each.letter_id for each in bells])


# --- letters a second -------------------------------------------------------------------------------------------------


def test_letters_over_the_rate_are_given_places_in_line_and_lose_no_attempt(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "letters_per_s = 0.01", POSTROOM_RETRY_MAX_S="3600") as (here, relay):
        receipts = [here.accept(f"a-{number}@example.com") for number in range(7)]
        deliver_all(here, receipts)
        assert states(receipts).count(LetterState.SENT) == 1
        waiting = [each.status() for each in receipts if each.status().state is LetterState.DEFERRED]
        assert all(each.attempts == 0 for each in waiting)
        times = sorted(each.next_attempt_at or 0 for each in waiting)
        assert all(later - sooner > 60 for sooner, later in pairwise(times)), "one after the other, not all at once"
        assert len(relay.taken) == 1


def test_a_letter_over_the_rate_leaves_the_probe_of_a_relay_to_another(redis_url: str, tmp_path: Path) -> None:
    busy = {"connect": say("421 4.3.2 busy")}
    with limited(redis_url, tmp_path, "letters_per_s = 0.01", busy) as (here, _):
        here.deliver(here.accept(ANN))
        wait_until(lambda: here.standing().state == "half-open", "its time is over")
        over = here.deliver(here.accept(BEN))
        assert over.reason == "relay default takes no more for now (letters a second)"
        assert here.ledger.relays.knock("default", "another", 60_000, 1).state == "probe", "not after a lease only"


def test_all_are_sent_in_the_end_at_the_rate(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "letters_per_s = 10") as (here, relay):
        receipts = [here.accept(f"a-{number}@example.com") for number in range(15)]
        deliver_all(here, receipts)

        def are_sent() -> bool:
            deliver_due(here)
            return set(states(receipts)) == {LetterState.SENT}

        wait_until(are_sent, "all are sent")
        assert sum(relay.accepted.values()) == 15


def test_a_rate_is_shared_by_all_workers(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "letters_per_s = 0.01") as (here, _):
        settings = {"POSTROOM_RELAYS": str(tmp_path / "relays.toml")}
        with desk(redis_url, "smtp://127.0.0.1:1", **settings) as other:
            receipts = [here.accept(f"a-{number}@example.com") for number in range(6)]
            deliver_all(here, receipts[:3])
            deliver_all(other, receipts[3:])
            assert states(receipts).count(LetterState.SENT) == 1


def test_a_letter_sent_alone_goes_before_the_bulk_that_waits_in_line(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "letters_per_s = 0.01", POSTROOM_RETRY_MAX_S="36000") as (here, _):
        bulk = [here.accept(f"a-{number}@example.com", priority="bulk") for number in range(30)]
        deliver_all(here, bulk)
        single = here.accept("password@example.org")
        here.deliver(single)
        line = [each.status().next_attempt_at or 0 for each in bulk if each.status().state is LetterState.DEFERRED]
        mine = single.status().next_attempt_at
        assert mine is not None
        assert mine < sorted(line)[2], "it stands behind those who were served, not behind those who wait"


def test_bulk_leaves_the_tokens_that_letters_sent_alone_wait_for(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        demand = [[Demand(here.ledger.keys.relay_letters("default"), "rate", 0.01, 200_000)]]

        def wait_ms(*, bulk: bool) -> int:
            return here.ledger.relays.admit(demand, "", 1000, bulk=[bulk])[0][0]

        assert wait_ms(bulk=True) == 0
        assert wait_ms(bulk=False) > 0
        first = wait_ms(bulk=True)
        assert first > 150_000, "the next token is the single's, and the one after that it"


def test_a_recipient_domain_has_a_rate_of_its_own(redis_url: str, tmp_path: Path) -> None:
    domains = '[relays.default.domains."example.net"]\nletters_per_s = 0.01\n'
    with limited(redis_url, tmp_path, "letters_per_connection = 100", domains=domains) as (here, _):
        slow = [here.accept(f"a-{number}@example.net") for number in range(3)]
        free = [here.accept(f"a-{number}@example.com") for number in range(3)]
        deliver_all(here, [*slow, *free])
        assert states(slow).count(LetterState.SENT) == 1
        assert states(free).count(LetterState.SENT) == 3


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_no_more_sessions_than_the_relay_may_have(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "connections = 2") as (here, relay):
        pool, to = here.office.pool, here.office.relays[0]
        with pool.session(to), pool.session(to):
            with pytest.raises(NoPlace), pool.session(to):
                pass
            receipt = here.accept(ANN)
            status = here.deliver(receipt)
            assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert here.deliver(here.accept(BEN)).state is LetterState.SENT
        assert len(relay.sessions) == 2


def test_the_places_of_a_worker_that_died_come_back_by_themselves(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "connections = 1", POSTROOM_LEASE_S="600") as (here, _):
        sessions = here.ledger.keys.relay_sessions("default")
        demand = [[Demand(sessions, "places", 1, 1000)]]
        assert here.ledger.relays.admit(demand, "the dead", 600_000, bulk=[False]) == [(0, "")]
        assert here.deliver(here.accept(ANN)).state is LetterState.DEFERRED
        here.ledger.redis.zadd(sessions, {"the dead": 1})  # its lease is over
        assert here.deliver(here.accept(BEN)).state is LetterState.SENT


def test_a_place_in_use_is_kept_beyond_its_lease(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "connections = 1", POSTROOM_LEASE_S="600") as (here, _):
        sessions = here.ledger.keys.relay_sessions("default")
        here.office.leases._every_s = 0.01
        pool, to = here.office.pool, here.office.relays[0]
        with pool.session(to) as session, here.office.leases.kept([], lambda: None):
            place = pool.member(session)
            soon_ms = here.ledger.now_ms() + 300_000
            here.ledger.redis.zadd(sessions, {place: soon_ms})
            wait_until(lambda: (here.ledger.redis.zscore(sessions, place) or 0) > soon_ms, "its lease is prolonged")
            demand = [[Demand(sessions, "places", 1, 1000)]]
            assert here.ledger.relays.admit(demand, "another", 600_000, bulk=[False])[0][0] > 0


def test_an_idle_session_is_ended_for_a_worker_that_waits_for_its_place(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "connections = 1") as (here, relay):
        assert here.deliver(here.accept(ANN)).state is LetterState.SENT
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(tmp_path / "relays.toml")) as other:
            wait_until(lambda: other.deliver(other.accept(BEN)).state is LetterState.SENT, "its place is free")
        wait_until(lambda: relay.sessions[0].ended == "quit", "the first one has ended")


def test_connections_a_second(redis_url: str, tmp_path: Path) -> None:
    limits = "connections_per_s = 0.01, letters_per_connection = 1"
    with limited(redis_url, tmp_path, limits) as (here, relay):
        receipts = [here.accept(f"a-{number}@example.com") for number in range(3)]
        deliver_all(here, receipts)
        assert states(receipts).count(LetterState.SENT) == 1
        assert len(relay.sessions) == 1


def test_a_session_serves_so_many_letters(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "letters_per_connection = 2") as (here, relay):
        deliver_all(here, [here.accept(f"a-{number}@example.com") for number in range(5)])
        here.office.pool.close()
        assert [each.commands.count("DATA") for each in relay.sessions] == [2, 2, 1]


def test_a_session_serves_so_many_letters_to_a_domain(redis_url: str, tmp_path: Path) -> None:
    domains = '[relays.default.domains."example.net"]\nletters_per_connection = 2\n'
    with limited(redis_url, tmp_path, "letters_per_connection = 4", domains=domains, POSTROOM_SESSIONS="1") as (
        here,
        relay,
    ):
        to = [f"{name}@example.{at}" for name, at in zip("abcdefg", ("net", "com", "net", *["com"] * 4), strict=True)]
        deliver_all(here, [here.accept(each) for each in to])
        for each in ("h@example.net", "i@example.net", "j@example.net"):
            assert here.deliver(here.accept(each)).state is LetterState.SENT
        here.office.pool.close()
        served = [[each.recipients[0][0] for each in relay.taken if each.session == number] for number in range(4)]
        assert ["".join(each) for each in served] == ["abc", "defg", "hi", "j"]


def test_a_recipient_domain_has_sessions_of_its_own(redis_url: str, tmp_path: Path) -> None:
    domains = '[relays.default.domains."example.net"]\nconnections = 1\n'
    with limited(redis_url, tmp_path, "letters_per_connection = 100", domains=domains) as (here, _):
        at_domain = here.ledger.keys.relay_sessions("default", "example.net")
        demand = [[Demand(at_domain, "places", 1, 1000)]]
        here.ledger.relays.admit(demand, "another worker's session", 60_000, bulk=[False])
        slow, free = here.accept(BEN), here.accept(ANN)
        deliver_all(here, [slow, free])
        assert states([slow, free]) == [LetterState.DEFERRED, LetterState.SENT]
        here.ledger.redis.delete(at_domain)
        assert here.deliver(here.accept(BEN)).state is LetterState.SENT
        assert here.ledger.redis.zcard(at_domain) == 0, "given back when the letter is gone"


def test_a_place_at_a_domain_is_given_back_before_another_may_have_the_session(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domains = '[relays.default.domains."example.com"]\nconnections = 1\n'
    with limited(redis_url, tmp_path, "connections = 9", domains=domains) as (here, _):
        at_domain = here.ledger.keys.relay_sessions("default", "example.com")
        take_back, places = here.office.pool._take_back, []

        def look(session: Session) -> None:
            places.append(here.ledger.redis.zcard(at_domain))
            take_back(session)

        monkeypatch.setattr(here.office.pool, "_take_back", look)
        assert here.deliver(here.accept(ANN)).state is LetterState.SENT
        assert places == [0]


def test_a_relay_with_limits_for_domains_that_is_down_is_paused_as_any_other(redis_url: str, tmp_path: Path) -> None:
    domains = '[relays.default.domains."example.com"]\nconnections = 1\n'
    busy = {"connect": say("421 4.3.2 busy")}
    with limited(redis_url, tmp_path, "connections = 9", busy, domains, POSTROOM_PAUSE_FIRST_S="60") as (here, _):
        receipts = [here.accept(ANN), here.accept(CAT)]
        deliver_all(here, receipts)
        assert all("421 4.3.2 busy" in each.status().reason for each in receipts)
        assert here.standing().state == "open"


# --- recipients -------------------------------------------------------------------------------------------------------


def test_so_many_recipients_in_a_transaction(redis_url: str, tmp_path: Path) -> None:
    with limited(redis_url, tmp_path, "recipients_per_transaction = 2") as (here, relay):
        to = [f"a-{number}@example.com" for number in range(5)]
        assert here.deliver(here.accept(to)).state is LetterState.SENT
        assert [len(each.recipients) for each in relay.taken] == [2, 2, 1]
        assert set(relay.accepted.values()) == {1}


def test_so_many_recipients_at_a_domain_in_a_transaction(redis_url: str, tmp_path: Path) -> None:
    domains = '[relays.default.domains."example.net"]\nrecipients_per_transaction = 1\n'
    with limited(redis_url, tmp_path, "recipients_per_transaction = 10", domains=domains) as (here, relay):
        to = ["a@example.net", "b@example.net", "c@example.com"]
        assert here.deliver(here.accept(to)).state is LetterState.SENT
        assert [each.recipients for each in relay.taken] == [["a@example.net", "c@example.com"], ["b@example.net"]]


# --- a relay that asks for less ---------------------------------------------------------------------------------------


def test_a_domain_that_asks_for_less_gets_less_for_a_while(redis_url: str) -> None:
    script = {"rcpt": [say("450 4.7.28 too fast"), say("250 ok")]}
    with (
        scripted_relay(script) as relay,
        desk(redis_url, relay.url, POSTROOM_SLOW_S="60", POSTROOM_SESSIONS="1") as here,
    ):
        assert here.deliver(here.accept(ANN)).state is LetterState.DEFERRED
        [(domain, rate)] = here.ledger.relays.knock("default", "", 0, 60_000).rates.items()
        assert domain == "example.com"
        assert rate < 1
        more = [here.accept(f"a-{number}@example.com") for number in range(4)]
        others = [here.accept(f"a-{number}@example.org") for number in range(4)]
        deliver_all(here, [*more, *others])
        assert states(more).count(LetterState.SENT) == 1
        assert states(others).count(LetterState.SENT) == 4


def test_a_rate_that_was_lowered_rises_again_and_is_forgotten(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        assert here.ledger.relays.slow("default", "", 40.0, 200) == 20.0
        assert here.ledger.relays.slow("default", "", 40.0, 200) == 20.0, "told by many at once, halved once"
        wait_until(lambda: not here.ledger.relays.knock("default", "", 0, 200).rates, "it has risen to what it was")


def test_too_many_connections_slow_the_relay_as_a_whole(redis_url: str) -> None:
    with (
        scripted_relay({"connect": say("421 4.7.0 too many connections")}) as relay,
        desk(redis_url, relay.url) as here,
    ):
        here.deliver(here.accept(ANN))
        assert list(here.ledger.relays.knock("default", "", 0, 60_000).rates) == [""]


def test_greylisting_slows_nobody(redis_url: str) -> None:
    with scripted_relay({"rcpt": say("451 4.7.1 greylisted")}) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept(ANN))
        assert here.standing().rates == {}
