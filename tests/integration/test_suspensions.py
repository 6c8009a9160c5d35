"""Suspensions: letters wait by tag, recipient domain or relay, at no cost, and go on when it is over."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from house import Desk, House, desk, ledger_at
from postroom import LetterState, LetterStatus, Receipt, RecipientState
from postroom.cli import main, reach
from postroom.ledger.suspensions import Kind, Suspension, current, lift, make_due, suspend
from postroom.ledger.views import account, begins_in_ms, circumstances
from postroom.ledger.workers import sign_in
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import Session, both, close, say, scripted_relay
from postroom_worker.dev.server import wait_until

ANN, BEN = "ann@example.com", "ben@example.net"
SLOW = {"POSTROOM_RETRY_MAX_S": "3600", "POSTROOM_RETRY_FIRST_S": "3600"}
PAUSE = {"POSTROOM_PAUSE_MAX_S": "600", "POSTROOM_PAUSE_FIRST_S": "600"}


def suspended(here: Desk, kind: Kind, name: str, for_ms: int = 0) -> Suspension:
    """Suspend, and let the desk know at once: a worker may take a second."""
    what = Suspension(kind=kind, name=name, by="ops", why="wrong prices")
    suspend(here.ledger, what, for_ms)
    here.office.orders._asked_s = float("-inf")
    return what


def resumed(here: Desk, what: Suspension) -> int:
    lift(here.ledger, what)
    here.office.orders._asked_s = float("-inf")
    return sum(make_due(here.ledger, what, by="ops", why="right prices"))


def deliver_due(here: Desk) -> None:
    bells = here.ledger.release_due(100)
    if bells:
        deliver(here.office, [each.letter_id for each in bells])


def goes_on(here: Desk, receipt: Receipt) -> LetterStatus:
    deliver_due(here)
    return receipt.status()


def run(url: str, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env={**ledger_at(url), **environment})


# --- what waits, and at what cost -------------------------------------------------------------------------------------


def test_letters_with_a_suspended_tag_wait_whenever_they_come_and_others_go(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, **SLOW) as here:
        before = here.accept(ANN, tags=["spring", "news"])
        suspended(here, "tag", "spring")
        after, other = here.accept(ANN, tags=["spring"]), here.accept(ANN, tags=["news"])
        assert [here.deliver(each).state for each in (before, after, other)] == ["deferred", "deferred", "sent"]
        status = after.status()
        assert (status.attempts, status.reason) == (0, "tag spring is suspended by ops: wrong prices")
        assert account(here.ledger, after.id).history[-1]["why"] == status.reason
        assert len(relay.taken) == 1


def test_recipients_at_a_suspended_domain_wait_and_the_others_of_the_letter_do_not(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        what = suspended(here, "domain", "example.net")
        receipt = here.accept([ANN, BEN.replace("example.net", "EXAMPLE.NET")])
        status = here.deliver(receipt)
        assert [each.state for each in status.recipients.values()] == [RecipientState.ACCEPTED, RecipientState.PENDING]
        wait_until(lambda: goes_on(here, receipt).reason != "", "it waits for the domain alone")
        resumed(here, what)
        deliver_due(here)
        assert receipt.status().state is LetterState.SENT
        assert [each.recipients for each in relay.taken] == [[ANN], ["ben@example.net"]]


def test_letters_for_a_suspended_relay_go_to_another(redis_url: str, tmp_path: Path) -> None:
    with scripted_relay() as first, scripted_relay() as second:
        path = tmp_path / "relays.toml"
        path.write_text(f'[relays.first]\nurl = "{first.url}"\n[relays.second]\nurl = "{second.url}"\n')
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path), **SLOW) as here:
            suspended(here, "relay", "first")
            status = here.deliver(here.accept(ANN))
            assert (status.state, status.relay) == (LetterState.SENT, "second")
            suspended(here, "relay", "second")
            status = here.deliver(here.accept(ANN))
            assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
            assert status.reason.endswith("is suspended by ops: wrong prices")
        assert (len(first.sessions), len(second.taken)) == (0, 1)


@pytest.mark.parametrize(("kind", "name"), [("tag", "spring"), ("domain", "example.com"), ("relay", "default")])
def test_a_chunk_in_hand_stops_where_it_is(kind: Kind, name: str, redis_url: str) -> None:
    def take_and_suspend(session: Session) -> None:
        suspended(here, kind, name)
        say("250 2.0.0 taken")(session)

    offers = ("8BITMIME",)  # no letter goes ahead of the answer to the one before
    script = {"content": [say("250 2.0.0 taken"), take_and_suspend]}
    settings = {"POSTROOM_SESSIONS": "1", **SLOW}
    with scripted_relay(script, offers=offers) as relay, desk(redis_url, relay.url, **settings) as here:
        receipts = [here.accept(f"a-{number}@example.com", tags=["spring"]) for number in range(40)]
        deliver(here.office, [each.id for each in receipts])
        states = [each.status().state for each in receipts]
        assert (states.count(LetterState.SENT), states.count(LetterState.DEFERRED)) == (2, 38)
        assert len(relay.taken) == 2


def test_a_suspension_ends_by_itself(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, **SLOW) as here:
        suspended(here, "tag", "spring", for_ms=600_000)
        receipt = here.accept(ANN, tags=["spring"])
        status = here.deliver(receipt)
        assert status.state is LetterState.DEFERRED
        assert (status.next_attempt_at or 0) <= here.ledger.now_ms() / 1000 + 600, "it waits no longer than that"
        suspended(here, "tag", "spring", for_ms=1)
        here.ledger.redis.zadd(here.ledger.keys.index_of(receipt.id, LetterState.DEFERRED), {receipt.id: 0})
        wait_until(lambda: current(here.ledger)[0] == [], "the time is over")
        assert goes_on(here, receipt).state is LetterState.SENT


def test_time_in_a_suspension_does_not_count_towards_giving_up(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, **SLOW) as here:
        receipt = here.accept(ANN, tags=["spring"])
        given_up_ms = circumstances(here.ledger, receipt.id).give_up_ms
        suspended(here, "tag", "spring")
        here.deliver(receipt)
        assert circumstances(here.ledger, receipt.id).give_up_ms == given_up_ms + 3_600_000
        assert begins_in_ms(here.ledger, receipt.id) <= 0, "it may be sent as soon as it may"


def test_resuming_makes_what_waited_due_at_once_and_nothing_else(redis_url: str) -> None:
    with scripted_relay({"rcpt": say("451 4.7.1 later")}) as relay, desk(redis_url, relay.url, **SLOW) as here:
        greylisted = here.accept(ANN)
        here.deliver(greylisted)
        what = suspended(here, "tag", "spring")
        receipt = here.accept(ANN, tags=["spring"])
        here.deliver(receipt)
        relay.scripts = ({},)
        assert (resumed(here, what), resumed(here, what)) == (1, 0)
        assert [each["event"] for each in account(here.ledger, receipt.id).history].count("resumed") == 1
        deliver_due(here)
        assert receipt.status().state is LetterState.SENT
        event = next(each for each in account(here.ledger, receipt.id).history if each["event"] == "resumed")
        assert (event["what"], event["by"], event["why"]) == ("tag spring", "ops", "right prices")
        assert greylisted.status().state is LetterState.DEFERRED


# --- what was served stays served -------------------------------------------------------------------------------------


def test_who_was_served_before_the_letter_had_to_wait_gets_it_once(redis_url: str, tmp_path: Path) -> None:
    with scripted_relay() as relay:
        path = tmp_path / "relays.toml"
        path.write_text(
            f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ recipients_per_transaction = 1 }}\n'
            '[relays.default.domains."example.net"]\nconnections = 1\n'
        )
        with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_RELAYS=str(path)) as here:
            (only,) = here.office.relays
            receipt = here.accept([ANN, BEN])

            def take_the_place(session: Session) -> None:
                # Another session has the place at example.net by the time that Ben's transaction would begin.
                here.ledger.redis.delete(here.ledger.keys.relay_sessions("default", "example.net"))
                here.office.places.enter(only, "another", ["example.net"])
                here.office.places._held.clear()
                say("250 2.0.0 taken")(session)

            relay.scripts = ({"content": [take_the_place, say("250 2.0.0 taken")]},)
            status = here.deliver(receipt)
            assert status.state is LetterState.DEFERRED
            assert status.recipients[ANN].state is RecipientState.ACCEPTED
            here.ledger.redis.delete(here.ledger.keys.relay_sessions("default", "example.net"))
            wait_until(lambda: goes_on(here, receipt).state is LetterState.SENT, "Ben gets it")
            assert [each.recipients for each in relay.taken] == [[ANN], [BEN]]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_suspends_shows_and_resumes(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, **SLOW) as here:
        receipt = here.accept(ANN, tags=["spring"])
        rehearsed = run(redis_url, "suspend", "--tag", "spring", "--dry-run")
        assert "1 letter will wait" in rehearsed.output
        rehearsed = run(redis_url, "suspend", "--tag", "spring", "--dry-run", "--json")
        assert json.loads(rehearsed.stdout) == {"letters": 1, "looked_at": None, "perhaps": 0}
        assert current(here.ledger)[0] == []
        assert run(redis_url, "suspend", "--tag", "spring", "--reason", "wrong prices", "--yes").exit_code == 0
        here.deliver(receipt)
        (shown,) = [json.loads(line) for line in run(redis_url, "suspensions", "--json").output.splitlines()]
        assert (shown["kind"], shown["name"], shown["why"]) == ("tag", "spring", "wrong prices")
        assert "wrong prices" in run(redis_url, "list", "--state", "deferred").output
        watched = json.loads(run(redis_url, "watch", "--json", "--times", "1").output)
        assert watched["suspensions"][0]["why"] == "wrong prices"
        resumed = run(redis_url, "resume", "--tag", "spring", "--reason", "right prices", "--yes", "--json")
        assert "1 letter waited for it, and may go now" in resumed.stderr
        assert json.loads(resumed.stdout) == {"what": "tag spring", "letters": 1}
        here.office.orders._asked_s = float("-inf")
        deliver_due(here)
        assert receipt.status().state is LetterState.SENT
        audited = run(redis_url, "audit").output
        assert all(each in audited for each in ("suspend", "resume", "tag spring", "wrong prices", "right prices"))


def test_the_only_relay_is_suspended_for_all_that_are_on_their_way(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", **SLOW) as here:
        sign_in(here.ledger, "a@host", "1.0", ["default"])
        here.deliver(here.accept(ANN))
        here.accept(BEN)
        assert "\n2 letters will wait\n" in "\n" + run(redis_url, "suspend", "--relay", "default", "--dry-run").stderr


def test_of_several_relays_those_letters_are_counted_that_were_last_tried_at_the_suspended_one(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", **SLOW) as here:
        sign_in(here.ledger, "a@host", "1.0", ["default", "other"])
        here.deliver(here.accept(ANN))
        here.accept(BEN)
        told = run(redis_url, "suspend", "--relay", "default", "--dry-run", "--json")
        assert json.loads(told.stdout) == {"letters": 1, "looked_at": None, "perhaps": 1}
        assert told.stderr.startswith("1 letter, and those of 1 more on their way that no other relay may take (")


def test_how_many_is_counted_for_two_seconds_and_no_longer(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_COUNT_S", 0.0)
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        here.accept(ANN, tags=["spring"])
        told = run(redis_url, "suspend", "--tag", "spring", "--dry-run").stderr
        assert told == "0 letters of the first 0 that were looked at, and perhaps others, will wait\n"


def test_how_many_go_on_is_said_before_a_suspension_is_ended(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", **SLOW) as here:
        suspended(here, "tag", "spring")
        here.deliver(here.accept(ANN, tags=["spring"]))
        here.accept(BEN, tags=["spring"])
        told = run(redis_url, "resume", "--tag", "spring")
        assert (told.exit_code, "\n1 letter will go on\n" in told.stderr) == (2, True), "there is nobody to ask"


def test_a_worker_heeds_the_command(shared: House) -> None:
    def act(*arguments: str) -> None:
        found = CliRunner().invoke(main, [*arguments, "--tag", "heeded", "--yes"], env=shared.environment)
        assert found.exit_code == 0, found.output

    act("suspend")
    sent: list[Receipt] = []

    def one_waits() -> bool:
        sent.append(shared.postroom.send_letter(f"heeded-{len(sent)}@example.com", "hi", tags=["heeded"]))
        shared.wait_for(sent[-1], LetterState.SENT, LetterState.DEFERRED)
        return sent[-1].status().reason.startswith("tag heeded is suspended")

    wait_until(one_waits, "the worker has heard of it")
    act("resume")
    shared.wait_for(sent[-1], LetterState.SENT)


def test_a_paused_relay_is_a_suspended_one(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url):
        there = {"POSTROOM_RELAY_URL": relay.url}
        assert run(redis_url, "relay", "pause", "default", "--for", "1h", **there).exit_code == 0
        assert "relay default" in run(redis_url, "suspensions").output
        assert json.loads(run(redis_url, "relay", "list", "--json", **there).output)["state"] == "suspended"
        assert run(redis_url, "resume", "--relay", "default", "--yes").exit_code == 0
        assert json.loads(run(redis_url, "relay", "list", "--json", **there).output)["state"] == "closed"


def test_what_a_worker_puts_aside_before_it_hears_of_the_end_goes_on_too(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, **SLOW) as here:
        suspended(here, "tag", "spring")
        receipt = here.accept(ANN, tags=["spring"])

        def put_aside() -> None:
            wait_until(lambda: current(here.ledger)[0] == [], "it is lifted")
            deliver(here.office, [receipt.id])  # this desk has not heard of it yet

        here.office.orders._read()
        here.office.orders._asked_s = float("inf")
        worker = Thread(target=put_aside)
        worker.start()
        assert run(redis_url, "resume", "--tag", "spring", "--yes").exit_code == 0
        worker.join()
        assert receipt.status().state is LetterState.DEFERRED
        here.office.orders._asked_s = float("-inf")
        deliver_due(here)
        assert receipt.status().state is LetterState.SENT


def test_what_waits_for_a_relay_that_was_down_goes_on_when_an_operator_says_so(redis_url: str) -> None:
    busy = {"connect": both(say("421 4.3.2 busy"), close)}
    with scripted_relay(busy) as relay, desk(redis_url, relay.url, **PAUSE) as here:
        here.deliver(here.accept(ANN))
        receipt = here.accept(BEN)
        assert here.deliver(receipt).reason.startswith("relay default is left alone: 421")
        relay.scripts = ({},)
        resumed = run(redis_url, "resume", "--relay", "default", "--yes")
        assert "2 letters waited for it" in resumed.output
        deliver_due(here)
        assert receipt.status().state is LetterState.SENT, "also by the worker that met the pause"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["suspend"], "--tag, --domain or --relay"),
        (["suspend", "--tag", "two words"], "--tag"),
        (["suspend", "--domain", "nobody@"], "--domain"),
        (["suspend", "--relay", "mxx", "--yes"], "no worker has a relay named 'mxx'; there are mx"),
        (["retry", "id", "--relay", "mxx"], "no worker has a relay named 'mxx'; there are mx"),
        (["trace", "mxx"], "no worker has a relay named 'mxx'; there are mx"),
        (["suspend", "--tag", "spring"], "--yes"),
        (["resume", "--tag", "spring"], "suspended: nothing"),
        (["resume"], "--tag, --domain or --relay"),
    ],
)
def test_what_cannot_be_meant_is_told(arguments: list[str], told: str, redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        sign_in(here.ledger, "a@host", "1.0", ["mx"])
        found = run(redis_url, *arguments)
    assert found.exit_code in (1, 2)
    assert told in found.output
