"""The ledger's verbs, each against a real server: what they guard, and that a repeat changes nothing.

Most tests run twice: as they are, and with every answer of Redis lost once, so that every script runs two times in a
row with the same arguments. That is what redis-py does, silently, when a connection breaks at the wrong moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from cluster import all_keys, client, partitions
from postroom import LedgerUnavailable, LetterState, RecipientState, operate
from postroom.ledger import Claim, Finish, Ledger, NewLetter, Recipient, views
from postroom.ledger.cluster import Client
from postroom.ledger.contents import Contents
from postroom.ledger.keys import Keys
from postroom.ledger.scripts import Call, Scripts
from postroom.ledger.transitions import Times
from postroom_worker.dev.server import server

HOUR_MS = 3_600_000
TIMES = Times(
    lease_ms=HOUR_MS, bell_ms=HOUR_MS, keep_sent_ms=HOUR_MS, keep_failed_ms=HOUR_MS, uncertain_max=3, deaths_max=5
)
AT_ONCE = Times(lease_ms=0, bell_ms=0, keep_sent_ms=0, keep_failed_ms=0, uncertain_max=3, deaths_max=5)
ANN, BEN = Recipient("ann@example.com"), Recipient("ben@example.com")


class Forgetful(Scripts):
    """Runs every script twice: the first answer is lost."""

    def _round_trip(self, *batches: Any, **how: Any) -> list[Any]:
        super()._round_trip(*batches, **how)
        return super()._round_trip(*batches, **how)


def with_times(ledger: Ledger, times: Times) -> Ledger:
    """The same ledger, but for its waits."""
    other = Ledger(ledger.redis, times, ledger.keys.partitions)
    other.scripts, other.contents = ledger.scripts, ledger.contents
    return other


@pytest.fixture(params=[Scripts, Forgetful], ids=["", "answers lost"])
def ledger(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty ledger, in which nothing happens by itself for an hour."""
    with client(redis_url) as redis:
        made = Ledger(redis, TIMES, partitions(redis))
        made.scripts = request.param(redis)
        made.contents = Contents(made.scripts, made.keys, made.room)
        yield made


def new(letter_id: str = "L1", **changes: Any) -> NewLetter:
    """A letter to Ann and Ben."""
    defaults: dict[str, Any] = {
        "id": letter_id,
        "letter": b'{"cc":[]}',
        "digest": "d",
        "recipients": (ANN, BEN),
        "give_up_in_ms": HOUR_MS,
        "queue": "postroom",
        "summary": "a\u2026@example.com +1",
    }
    return NewLetter(**defaults | changes)


def claimed(ledger: Ledger, letter_id: str = "L1", **changes: Any) -> Claim:
    """A letter that was accepted, and claimed by a worker."""
    ledger.accept(new(letter_id, **changes))
    [claim] = ledger.claim([letter_id], "w1")
    assert isinstance(claim, Claim)
    return claim


def finish(state: LetterState, of: Claim, **changes: Any) -> Finish:
    """What an attempt came to."""
    defaults: dict[str, Any] = {
        "state": state,
        "wait_ms": 0,
        "recipients": of.recipients,
        "attempts": of.attempts + 1,
        "uncertain": 0,
        "pauses": 0,
        "reason": "",
        "event": {"event": "attempt"},
    }
    return Finish(**defaults | changes)


def state_of(ledger: Ledger, letter_id: str = "L1") -> LetterState:
    """The letter's state, after checking that it stands in the index of that state and in no other."""
    state = views.status(ledger, letter_id).state
    places = [
        each
        for each in LetterState
        if ledger.redis.zscore(ledger.keys.index_of(letter_id, each), letter_id) is not None
    ]
    assert places == [state]
    return state


def events(ledger: Ledger, letter_id: str = "L1") -> list[str]:
    """The names of the events in the letter's history."""
    return [str(event["event"]) for event in views.account(ledger, letter_id).history]


def dump(redis: Client) -> dict[bytes, bytes]:
    """Everything that Redis holds of letters."""
    return {key: cast("bytes", redis.dump(key)) for key in all_keys(redis) if key != Keys.layout().encode()}


# --- accept -----------------------------------------------------------------------------------------------------------


def test_a_letter_is_accepted_once(ledger: Ledger) -> None:
    ledger.accept(new())
    before = dump(ledger.redis)
    assert ledger.accept(new()) == "known"
    assert dump(ledger.redis) == before
    assert state_of(ledger) is LetterState.QUEUED
    assert events(ledger) == ["queued"]


def test_another_letter_of_the_same_id_changes_nothing(ledger: Ledger) -> None:
    ledger.accept(new())
    before = dump(ledger.redis)
    assert ledger.accept(new(digest="e", letter=b"other")) == "other"
    assert dump(ledger.redis) == before


def test_a_letter_is_kept_octet_for_octet(ledger: Ledger) -> None:
    octets = b'{"cc":[],"n":12345678901234567890,"x":1e20,"s":"\xc3\xa4\\u0000"}' + bytes(range(256)) + b"[" * 2000
    assert claimed(ledger, letter=octets).letter == octets


def test_many_letters_are_accepted_in_one_round_trip(ledger: Ledger) -> None:
    ledger.accept(new("L2", digest="e"))
    ledger.accept_all([new("L1"), new("L2"), new("L3")])
    assert ledger.accept_all([new("L1"), new("L2"), new("L3"), new("L4", state=LetterState.SCHEDULED)])[:3] == [
        "known",
        "other",
        "known",
    ]
    assert state_of(ledger, "L4") is LetterState.SCHEDULED


def test_a_letter_put_aside_keeps_its_error(ledger: Ledger) -> None:
    ledger.accept(new(state=LetterState.REJECTED, recipients=(), reason='it says "no"'))
    status = views.status(ledger, "L1")
    assert (state_of(ledger), status.reason) == (LetterState.REJECTED, 'it says "no"')
    assert views.account(ledger, "L1").history[0]["why"] == 'it says "no"'


# --- claim, renew, enter_window ---------------------------------------------------------------------------------------


def test_a_claim_gives_all_that_a_worker_needs(ledger: Ledger) -> None:
    claim = claimed(ledger, expires_in_ms=5000, on_uncertain="hold", contents=("a1", "b2"))
    assert state_of(ledger) is LetterState.SENDING
    assert (claim.fence, claim.attempts, claim.uncertain, claim.pauses) == (1, 0, 0, 0)
    assert claim.letter == b'{"cc":[]}'
    assert claim.recipients == (ANN, BEN)
    assert claim.on_uncertain == "hold"
    assert claim.contents == ("a1", "b2")
    assert claim.expires_ms - claim.now_ms <= 5000
    assert claim.give_up_ms - claim.now_ms <= HOUR_MS


def test_only_one_worker_gets_the_claim(ledger: Ledger) -> None:
    claimed(ledger)
    before = dump(ledger.redis)
    assert ledger.claim(["L1"], "w2") == ["sending"]
    assert dump(ledger.redis) == before


def test_of_many_workers_at_once_one_gets_the_claim(ledger: Ledger) -> None:
    ids = [f"L{number}" for number in range(20)]
    ledger.accept_all([new(each) for each in ids])
    with ThreadPoolExecutor(8) as workers:
        found = list(workers.map(lambda worker: ledger.claim(ids, f"w{worker}"), range(8)))
    claims = [each for answers in found for each in answers if isinstance(each, Claim)]
    assert sorted(each.letter_id for each in claims) == sorted(ids)


@pytest.mark.parametrize("state", [LetterState.SCHEDULED, LetterState.HELD, LetterState.REJECTED])
def test_a_letter_that_is_not_queued_cannot_be_claimed(state: LetterState, ledger: Ledger) -> None:
    ledger.accept(new(state=state, due_ms=ledger.now_ms() + HOUR_MS))
    before = dump(ledger.redis)
    assert ledger.claim(["L1"], "w1") == [state]
    assert dump(ledger.redis) == before


def test_an_unknown_letter_cannot_be_claimed(ledger: Ledger) -> None:
    ledger.accept(new("L2"))
    first, second = ledger.claim(["L1", "L2"], "w1")
    assert first == "unknown"
    assert isinstance(second, Claim)


def test_a_claim_is_renewed_as_long_as_it_is_held(ledger: Ledger) -> None:
    held, lost = claimed(ledger, "L1"), claimed(ledger, "L2")
    ledger.finish(lost, finish(LetterState.SENT, lost))
    with_times(ledger, AT_ONCE).renew([held])
    index = ledger.keys.index_of("L1", LetterState.SENDING)
    first = cast("float", ledger.redis.zscore(index, "L1"))
    assert ledger.renew([held, lost]) == [True, False]
    assert cast("float", ledger.redis.zscore(index, "L1")) >= first + HOUR_MS
    assert state_of(ledger, "L2") is LetterState.SENT


def test_the_window_is_entered_only_by_who_holds_the_claim(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert ledger.enter_window(claim, "default")
    ledger.finish(claim, finish(LetterState.DEFERRED, claim))
    before = dump(ledger.redis)
    assert not ledger.enter_window(claim, "default")
    assert dump(ledger.redis) == before


# --- finish -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        LetterState.SENT,
        LetterState.PARTIAL,
        LetterState.FAILED,
        LetterState.DEFERRED,
        LetterState.HELD,
        LetterState.QUEUED,
        LetterState.REJECTED,
    ],
)
def test_what_an_attempt_came_to_is_recorded_once(state: LetterState, ledger: Ledger) -> None:
    claim = claimed(ledger)
    after = [Recipient("ann@example.com", RecipientState.ACCEPTED, "250 ok", 1), BEN]
    done = finish(state, claim, recipients=after, uncertain=1, pauses=2, reason="because", wait_ms=HOUR_MS)
    assert ledger.finish(claim, done)
    before = dump(ledger.redis)
    assert ledger.finish(claim, done), "told again, the same claim is right again"
    assert dump(ledger.redis) == before
    status = views.status(ledger, "L1")
    assert state_of(ledger) is state
    assert (status.attempts, status.reason) == (1, "because")
    assert status.recipients["ann@example.com"].reply == "250 ok"
    assert events(ledger) == ["queued", "attempt"]


def test_of_a_letter_that_was_sent_only_the_account_stays(ledger: Ledger) -> None:
    sent, failed = claimed(ledger, "L1"), claimed(ledger, "L2")
    ledger.finish(sent, finish(LetterState.SENT, sent))
    ledger.finish(failed, finish(LetterState.FAILED, failed))
    assert views.letter_json(ledger, "L1") is None
    assert views.letter_json(ledger, "L2") == b'{"cc":[]}'


def test_a_worker_that_wakes_after_its_claim_ran_out_can_write_nothing(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    late = claimed(hasty)
    hasty.release_due(10)
    [current] = ledger.claim(["L1"], "w2")
    assert isinstance(current, Claim)
    assert current.fence == late.fence + 1
    assert current.nonce != late.nonce
    before = dump(ledger.redis)
    assert ledger.renew([late]) == [False]
    assert not ledger.enter_window(late, "default")
    assert not ledger.finish(late, finish(LetterState.SENT, late))
    assert dump(ledger.redis) == before
    assert ledger.finish(current, finish(LetterState.SENT, current))


def test_a_fence_that_repeats_after_a_rollback_does_not_admit_the_old_worker(ledger: Ledger) -> None:
    ledger.accept(new())
    backup = dump(ledger.redis)
    [before_the_crash] = ledger.claim(["L1"], "w1")
    for key, value in backup.items():
        ledger.redis.restore(key, 0, value, replace=True)
    ledger.redis.delete(ledger.keys.index_of("L1", LetterState.SENDING))
    [after_it] = ledger.claim(["L1"], "w2")
    assert isinstance(before_the_crash, Claim)
    assert isinstance(after_it, Claim)
    assert before_the_crash.fence == after_it.fence
    assert not ledger.finish(before_the_crash, finish(LetterState.SENT, before_the_crash))
    assert state_of(ledger) is LetterState.SENDING


# --- release ----------------------------------------------------------------------------------------------------------


def test_nothing_is_released_before_its_time(ledger: Ledger) -> None:
    ledger.accept(new("scheduled", state=LetterState.SCHEDULED, due_ms=ledger.now_ms() + HOUR_MS))
    ledger.accept(new("queued"))
    claimed(ledger, "sending")
    deferred = claimed(ledger, "deferred")
    ledger.finish(deferred, finish(LetterState.DEFERRED, deferred, wait_ms=HOUR_MS))
    ledger.accept(new("held", state=LetterState.HELD))
    before = dump(ledger.redis)
    assert ledger.release_due(10) == []
    assert dump(ledger.redis) == before


def test_all_that_waited_for_its_time_is_released_by_one_rule(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    hasty.accept(new("scheduled", state=LetterState.SCHEDULED, due_ms=hasty.now_ms()))
    hasty.accept(new("queued"))
    claimed(hasty, "sending")
    deferred = claimed(hasty, "deferred")
    hasty.finish(deferred, finish(LetterState.DEFERRED, deferred))
    ledger.accept(new("held", state=LetterState.HELD))
    bells = ledger.release_due(10)
    if not isinstance(ledger.scripts, Forgetful):  # a bell whose answer was lost is rung again when it is late
        assert {each.letter_id for each in bells} == {"scheduled", "queued", "sending", "deferred"}
        assert {(each.queue, each.summary) for each in bells} == {("postroom", "a…@example.com +1")}
    assert {state_of(ledger, each) for each in ("scheduled", "queued", "sending", "deferred")} == {LetterState.QUEUED}
    assert state_of(ledger, "held") is LetterState.HELD
    assert ledger.release_due(10) == [], "released is released"


def test_two_workers_release_a_letter_once(redis_url: str) -> None:
    with client(redis_url) as redis:
        ledger = Ledger(redis, TIMES, partitions(redis))
        ids = [f"L{number}" for number in range(100)]
        now_ms = ledger.now_ms()
        ledger.accept_all([new(each, state=LetterState.SCHEDULED, due_ms=now_ms) for each in ids])
        with ThreadPoolExecutor(4) as workers:
            released = [bell.letter_id for bells in workers.map(ledger.release_due, [500] * 4) for bell in bells]
        assert sorted(released) == sorted(ids)


def test_no_more_is_released_at_once_than_asked_for(ledger: Ledger) -> None:
    ids = [each for each in (f"L{number}" for number in range(1000)) if ledger.keys.partition(each) == 0]
    ledger.accept_all([new(each, state=LetterState.SCHEDULED, due_ms=1) for each in ids[:5]])
    ledger.release_due(2)
    assert views.counts(ledger)[LetterState.QUEUED] == 2


def test_a_worker_that_died_before_the_window_costs_a_death(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    claimed(hasty)
    hasty.release_due(10)
    assert state_of(ledger) is LetterState.QUEUED
    assert events(ledger) == ["queued", "died"]


def test_a_letter_whose_workers_keep_dying_is_held(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    hasty.accept(new())
    for death in range(1, 6):
        [claim] = hasty.claim(["L1"], "w")
        assert isinstance(claim, Claim)
        ledger.release_due(10) if death == 5 else hasty.release_due(10)
    assert state_of(ledger) is LetterState.HELD
    assert views.status(ledger, "L1").reason == "its worker died 5 times"
    assert events(ledger)[-1] == "held"


def test_a_finish_forgives_the_deaths(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    hasty.accept(new())
    for _ in range(3):
        for _ in range(4):
            [claim] = hasty.claim(["L1"], "w")
            hasty.release_due(10)
        [claim] = hasty.claim(["L1"], "w")
        assert isinstance(claim, Claim)
        assert hasty.finish(claim, finish(LetterState.QUEUED, claim))
    assert state_of(ledger) is LetterState.QUEUED


@pytest.mark.parametrize(
    ("policy", "deaths", "state"),
    [("resend", 1, LetterState.QUEUED), ("resend", 3, LetterState.HELD), ("hold", 1, LetterState.HELD)],
)
def test_a_worker_that_died_in_the_window_leaves_an_uncertain_letter(
    policy: str, deaths: int, state: LetterState, ledger: Ledger
) -> None:
    hasty = with_times(ledger, AT_ONCE)
    hasty.accept(new(on_uncertain=policy))
    for death in range(1, deaths + 1):
        [claim] = hasty.claim(["L1"], "w")
        assert isinstance(claim, Claim)
        assert hasty.enter_window(claim, "default")
        ledger.release_due(10) if death == deaths else hasty.release_due(10)
    assert state_of(ledger) is state
    assert events(ledger).count("uncertain") == deaths
    assert ("uncertain" in views.status(ledger, "L1").reason) == (state is LetterState.HELD)


def test_a_stray_entry_of_an_index_is_removed(ledger: Ledger) -> None:
    index = ledger.keys.index_of("ghost", LetterState.DEFERRED)
    ledger.redis.zadd(index, {"ghost": 1})
    assert ledger.release_due(10) == []
    assert ledger.redis.zcard(index) == 0


# --- operate, forget, contents ----------------------------------------------------------------------------------------


def hold(ledger: Ledger, seen: LetterState, recipients: Sequence[Recipient] = (ANN, BEN)) -> str:
    """Hold the letter, which was seen so."""
    return ledger.operate(
        "L1",
        seen=seen,
        seen_recipients=recipients,
        state=LetterState.HELD,
        recipients=recipients,
        event={"event": "held", "by": "ann"},
        reason="wait",
    )


def test_an_operator_acts_on_the_letter_as_it_was_seen(ledger: Ledger) -> None:
    ledger.accept(new())
    assert hold(ledger, LetterState.QUEUED) == "done"
    assert state_of(ledger) is LetterState.HELD
    assert views.status(ledger, "L1").reason == "wait"
    assert events(ledger) == ["queued", "held"]


def test_an_operator_who_saw_another_state_changes_nothing(ledger: Ledger) -> None:
    claimed(ledger)
    before = dump(ledger.redis)
    assert hold(ledger, LetterState.QUEUED) == "sending"
    assert dump(ledger.redis) == before


def test_an_operator_who_saw_other_recipients_changes_nothing(ledger: Ledger) -> None:
    ledger.accept(new())
    before = dump(ledger.redis)
    assert hold(ledger, LetterState.QUEUED, [ANN]) == "queued"
    assert dump(ledger.redis) == before


def test_an_operator_cannot_act_on_an_unknown_letter(ledger: Ledger) -> None:
    assert hold(ledger, LetterState.QUEUED) == "unknown"
    assert dump(ledger.redis) == {}


def test_an_account_begun_anew_forgets_deaths_and_doubts(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    hasty.accept(new(give_up_in_ms=5))
    for _ in range(2):
        [claim] = hasty.claim(["L1"], "w")
        assert isinstance(claim, Claim)
        hasty.enter_window(claim, "default")
        hasty.release_due(10)
    ledger.operate(
        "L1",
        seen=LetterState.QUEUED,
        seen_recipients=(ANN, BEN),
        state=LetterState.QUEUED,
        recipients=(ANN, BEN),
        event={"event": "retried"},
        wait_ms=HOUR_MS,
        anew=True,
    )
    [again] = ledger.claim(["L1"], "w")
    assert isinstance(claim, Claim)
    assert isinstance(again, Claim)
    assert again.uncertain == 0
    assert again.give_up_ms > claim.give_up_ms


def test_a_letter_is_forgotten_when_its_retention_is_over(ledger: Ledger) -> None:
    hasty = with_times(ledger, AT_ONCE)
    over, fresh = claimed(ledger, "L1"), claimed(ledger, "L2")
    hasty.finish(over, finish(LetterState.SENT, over))
    ledger.finish(fresh, finish(LetterState.SENT, fresh, wait_ms=HOUR_MS))
    ledger.accept(new("L3"))
    ledger.forget_due(10)
    assert [key for key in dump(ledger.redis) if b":L1" in key] == []
    assert state_of(ledger, "L2") is LetterState.SENT
    assert state_of(ledger, "L3") is LetterState.QUEUED


def test_a_letter_that_was_taken_up_again_is_not_forgotten(ledger: Ledger) -> None:
    claim = claimed(ledger)
    ledger.finish(claim, finish(LetterState.FAILED, claim))
    ledger.operate(
        "L1",
        seen=LetterState.FAILED,
        seen_recipients=(ANN, BEN),
        state=LetterState.QUEUED,
        recipients=(ANN, BEN),
        event={"event": "retried"},
        wait_ms=HOUR_MS,
    )
    assert ledger.forget("L1", LetterState.FAILED) is False
    assert state_of(ledger) is LetterState.QUEUED


def test_contents_are_kept_once_and_as_long_as_a_letter_needs_them(ledger: Ledger) -> None:
    octets = bytes(range(256))
    sha256 = "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"
    ledger.contents.keep("L1", {sha256: octets})
    ledger.contents.keep("L2", {sha256: octets})
    assert ledger.contents.read(sha256) == octets
    ledger.contents.drop("L1", [sha256])
    assert ledger.contents.read(sha256) == octets
    ledger.contents.drop("L2", [sha256])
    assert dump(ledger.redis) == {}
    with pytest.raises(ValueError, match="not in the ledger"):
        ledger.contents.read(sha256)


# --- faults of the server ---------------------------------------------------------------------------------------------


def walk(ledger: Ledger) -> None:
    """A letter's whole life, through every verb."""
    ledger.accept(new(state=LetterState.SCHEDULED, due_ms=1))
    ledger.contents.keep("L1", {"0" * 64: b"octets"})
    ledger.release_due(10)
    [claim] = ledger.claim(["L1"], "w1")
    assert isinstance(claim, Claim)
    assert ledger.renew([claim]) == [True]
    assert ledger.enter_window(claim, "default")
    assert ledger.finish(claim, finish(LetterState.FAILED, claim))
    hold_recipients = claim.recipients
    assert (
        ledger.operate(
            "L1",
            seen=LetterState.FAILED,
            seen_recipients=hold_recipients,
            state=LetterState.CANCELLED,
            recipients=hold_recipients,
            event={"event": "cancelled"},
        )
        == "done"
    )
    ledger.contents.drop("L1", ["0" * 64])
    assert ledger.forget_due(10) == 1 or isinstance(ledger.scripts, Forgetful)
    assert dump(ledger.redis) == {}


def test_scripts_that_redis_forgot_are_loaded_again(ledger: Ledger) -> None:
    class Flushing(type(ledger.scripts)):  # type: ignore[misc]
        def _round_trip(self, *batches: Any, **how: Any) -> list[Any]:
            answers: list[Any] = super()._round_trip(*batches, **how)
            self.redis.script_flush()
            return answers

    ledger.scripts = Flushing(ledger.redis)
    ledger.contents = Contents(ledger.scripts, ledger.keys, ledger.room)
    walk(ledger)


def test_a_round_trip_in_which_some_scripts_are_unknown_runs_each_once(ledger: Ledger) -> None:
    ledger.accept_all([new("L1"), new("L2")])
    ledger.redis.script_flush()
    assert ledger.accept_all([new("L1"), new("L2", digest="e"), new("L3")])[:2] == ["known", "other"]
    assert events(ledger, "L1") == ["queued"]


CALLS = {
    "accept": (
        ["letter", "history", "queued"],
        ["L1", "queued", 0, 0, 0, 1, "d", '{"event":"queued"}', "{}", "[]", "q", "resend", "s", "a", "", "", "", ""],
    ),
    "claim": (["letter", "history", "queued", "sending"], ["L1", "n2", 1, "w"]),
    "renew": (["letter", "sending"], ["L1", "n", 1]),
    "enter_window": (["letter", "sending"], ["L1", "n", 1, "default"]),
    "finish": (
        ["letter", "history", "sending", "sent"],
        ["L1", "n", "sent", 1, "[]", 1, 0, 0, "", "1", '{"event":"attempt"}'],
    ),
    "release": (["letter", "history", "sending", "queued", "held"], ["L1", "sending", 1, 0, 3, 5]),
    "operate": (
        ["letter", "history", "failed", "queued"],
        ["L1", "n3", "failed", "[]", "queued", 0, "[]", "1", "", '{"event":"retried"}'],
    ),
    "testify": (
        ["letter", "history", "held", "sent"],
        ["L1", "n", "held", "[]", "sent", 1, "[]", "1", '{"event":"testified"}'],
    ),
    "forget": (["letter", "history", "failed"], ["L1", "failed", 0, ""]),
    "keep": (["contents", "letters"], ["L1"]),
    "drop": (["contents", "letters"], ["L1"]),
}
STATE_BEFORE = {"claim": "queued", "operate": "failed", "testify": "held", "forget": "failed"}
DELETES = {("forget", "history"), ("drop", "contents")}
"""Keys that a script does not read: it removes them."""


@pytest.mark.parametrize(
    ("verb", "wrong"), [pytest.param(verb, key, id=f"{verb}-{key}") for verb in CALLS for key in CALLS[verb][0]]
)
def test_a_key_of_the_wrong_type_stops_a_script_before_its_first_write(
    verb: str, wrong: str, empty_redis: Callable[[], str]
) -> None:
    names, arguments = CALLS[verb]
    with Redis.from_url(empty_redis()) as redis:
        state = STATE_BEFORE.get(verb, "sending")
        if verb != "accept":
            fields = {"state": state, "nonce": "n", "recipients": "[]", "give_up_in_ms": 1}
            redis.hset("letter", mapping=fields | ({"late": "n"} if verb == "testify" else {}))
        if verb in STATE_BEFORE or verb in ("finish", "release", "renew", "enter_window"):
            redis.zadd(state, {"L1": 1})
        redis.delete(wrong)
        redis.setbit(wrong, 1, 1) if wrong != "contents" else redis.rpush(wrong, "wrong")
        before = dump(redis)
        call = Call(verb, names, cast("list[str | bytes | int]", arguments))
        if (verb, wrong) in DELETES:
            Scripts(redis).run(call)
            return
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            Scripts(redis).run(call)
        assert dump(redis) == before


def test_a_letter_that_is_damaged_cannot_be_claimed_and_keeps_no_other(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    ids = ["L1", "L2", "L3"]
    ledger.accept_all([new(each) for each in ids])
    ledger.redis.hset(ledger.keys.letter("L2"), "fence", "no number")
    first, damaged, third = ledger.claim(ids, "w")
    assert isinstance(first, Claim)
    assert damaged == "damaged"
    assert isinstance(third, Claim)
    states = [LetterState.SENDING, LetterState.QUEUED, LetterState.SENDING]
    assert [state_of(ledger, each) for each in ids] == states
    assert [each.levelno for each in caplog.records if "L2" in each.message] == [logging.ERROR]


def test_a_letter_that_is_damaged_is_not_released_and_keeps_no_other(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    hasty = Ledger(ledger.redis, AT_ONCE, ledger.keys.partitions)
    ids = ["L1", "L2", "L3"]
    for each in ids:
        claimed(hasty, each)
    ledger.redis.hset(ledger.keys.letter("L2"), "deaths", "no number")
    for _ in range(2):
        ledger.release_due(10)  # the second time it is left alone, until a bell would count as lost
    states = [LetterState.QUEUED, LetterState.SENDING, LetterState.QUEUED]
    assert [state_of(ledger, each) for each in ids] == states
    assert [each.levelno for each in caplog.records if "L2" in each.message] == [logging.ERROR]


def test_a_full_redis_refuses_new_letters_and_takes_what_became_of_the_old_ones(tmp_path: Path) -> None:
    with server(tmp_path, "--maxmemory", "100mb") as running, Redis.from_url(running.url) as redis:
        ledger, hasty = Ledger(redis, TIMES), Ledger(redis, AT_ONCE)
        first, late = claimed(ledger, "L1"), claimed(hasty, "L2")
        ledger.accept(new("L3"))
        redis.config_set("maxmemory", 1)
        before = dump(redis)
        with pytest.raises(LedgerUnavailable, match="full") as refused:
            ledger.accept(new("L4"))
        assert refused.value.letter_id == "L4"
        with pytest.raises(LedgerUnavailable, match="full"):
            ledger.contents.keep("L4", {"0" * 64: b"octets"})
        assert dump(redis) == before
        assert ledger.enter_window(first, "default")
        assert ledger.finish(first, finish(LetterState.SENT, first))
        assert [bell.letter_id for bell in ledger.release_due(10)] == [late.letter_id]
        [claim] = ledger.claim(["L3"], "w1")
        assert isinstance(claim, Claim)
        assert ledger.renew([claim]) == [True]
        assert ledger.finish(claim, finish(LetterState.DEFERRED, claim, wait_ms=HOUR_MS))
        redis.config_set("maxmemory", 0)
        assert ledger.accept(new("L4")) == "accepted"


def test_a_full_redis_before_7_that_refuses_an_outcome_leaves_the_letter_in_its_place(tmp_path: Path) -> None:
    """There a script cannot say that it may exceed the memory: its first write fails, and later ones would not."""
    with server(tmp_path, "--maxmemory", "100mb") as running, Redis.from_url(running.url) as redis:
        ledger = Ledger(redis, TIMES)
        claim = claimed(ledger)
        ledger.accept(new("L2"))
        ledger.scripts._shebang = False
        redis.config_set("maxmemory", 1)
        with pytest.raises(LedgerUnavailable, match="full"):
            ledger.finish(claim, finish(LetterState.SENT, claim))
        with pytest.raises(LedgerUnavailable, match="full"):
            operate.cancel(ledger, "L2")
        assert [state_of(ledger, each) for each in ("L1", "L2")] == [LetterState.SENDING, LetterState.QUEUED]


def test_a_redis_that_is_away_is_told_in_one_kind_of_error(tmp_path: Path) -> None:
    with server(tmp_path) as running, Redis.from_url(running.url) as redis:
        ledger = Ledger(redis, TIMES)
        claim = claimed(ledger)
        running.kill()
        acts: list[Callable[[], object]] = [
            lambda: ledger.accept(new("L2")),
            lambda: ledger.accept_all([new("L2")]),
            lambda: ledger.claim(["L1"], "w"),
            lambda: ledger.renew([claim]),
            lambda: ledger.enter_window(claim, "default"),
            lambda: ledger.finish(claim, finish(LetterState.SENT, claim)),
            lambda: ledger.release_due(1),
            lambda: ledger.forget_due(1),
            lambda: hold(ledger, LetterState.QUEUED),
            lambda: ledger.now_ms(),
            lambda: ledger.contents.keep("L1", {"0" * 64: b""}),
            lambda: ledger.contents.read("0" * 64),
            lambda: ledger.contents.drop("L1", ["0" * 64]),
            lambda: views.status(ledger, "L1"),
            lambda: views.account(ledger, "L1"),
            lambda: list(views.scan(ledger, LetterState.QUEUED)),
            lambda: list(views.listing(ledger, LetterState.QUEUED)),
            lambda: views.counts(ledger),
            lambda: views.letter_json(ledger, "L1"),
        ]
        for act in acts:
            with pytest.raises(LedgerUnavailable):
                act()
