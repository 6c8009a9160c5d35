"""The ledger under any order of events: workers that come, die and wake, operators, the schedule, lost answers."""

from __future__ import annotations

import contextlib
from collections import Counter
from random import Random
from typing import Any

import pytest

from cluster import client, partitions
from postroom import LetterState, RecipientState, TooLate, UnknownLetter, operate
from postroom.ledger import Claim, Finish, Ledger, NewLetter, Recipient, views
from postroom.ledger.cluster import Client
from postroom.ledger.scripts import Scripts
from postroom.ledger.transitions import Times
from postroom.states import EDGES, letter_state

STEPS = 1500
# Everything is due at once, and a claim runs out as soon as it is made: what happens next is up to chance.
AT_ONCE = Times(lease_ms=0, bell_ms=0, keep_sent_ms=0, keep_failed_ms=0, uncertain_max=3, deaths_max=5)
OUTCOMES = (RecipientState.ACCEPTED, RecipientState.DEFERRED, RecipientState.DEFERRED, RecipientState.REFUSED)
ACTS = (operate.retry, operate.flush, operate.cancel, operate.hold, operate.release)


class LosingAnswers(Scripts):
    """Loses the answer of every third round trip, which is then made again."""

    trips = 0

    def _round_trip(self, *batches: Any, **how: Any) -> list[Any]:
        LosingAnswers.trips += 1
        if LosingAnswers.trips % 3 == 0:
            super()._round_trip(*batches, **how)
        return super()._round_trip(*batches, **how)


class Chance:
    """Does anything to two letters, and looks after each step whether all is in order."""

    def __init__(self, redis: Client, random: Random) -> None:
        self.random = random
        self.ledger = Ledger(redis, AT_ONCE, partitions(redis))
        self.ledger.scripts = LosingAnswers(redis)
        self.claims: list[Claim] = []
        self.valid: dict[str, str] = {}
        """By letter: the nonce of the claim that alone may write."""
        self.seen: dict[str, LetterState] = {}
        self.accepted: dict[str, set[str]] = {}
        """By letter: who was accepted, at the relay."""
        self.gone: Counter[tuple[LetterState, LetterState]] = Counter()

    def step(self) -> None:
        """Do something."""
        acts = {
            self.letters_come: 3,
            self.a_worker_claims: 4,
            self.a_worker_enters_the_window: 2,
            self.a_worker_renews: 1,
            self.a_worker_finishes: 6,
            self.a_worker_looks_at_the_schedule: 3,
            self.an_operator_acts: 3,
            self.retention_ends: 1,
        }
        [act] = self.random.choices(list(acts), list(acts.values()))
        act()
        self.check()

    def letters_come(self) -> None:
        for letter_id, policy in (("L1", "resend"), ("L2", "hold")):
            if letter_id not in self.seen:
                state = self.random.choice([LetterState.SCHEDULED, LetterState.QUEUED])
                self.ledger.accept(
                    NewLetter(
                        id=letter_id,
                        letter=b"{}",
                        digest="d",
                        recipients=[Recipient("ann@example.com"), Recipient("ben@example.com")],
                        state=state,
                        due_ms=1,
                        give_up_in_ms=1000,
                        queue="postroom",
                        on_uncertain=policy,
                    )
                )
                self.seen[letter_id], self.accepted[letter_id] = state, set()

    def a_worker_claims(self) -> None:
        letter_id = self.random.choice(["L1", "L2"])
        [claim] = self.ledger.claim([letter_id], "w")
        assert isinstance(claim, Claim) == (self.seen.get(letter_id) is LetterState.QUEUED)
        if isinstance(claim, Claim):
            self.claims = [*self.claims[-3:], claim]
            self.valid[letter_id] = claim.nonce

    def a_worker_enters_the_window(self) -> None:
        for claim in self._some_claim():
            assert self.ledger.enter_window(claim, "default") == self._is_valid(claim)

    def a_worker_renews(self) -> None:
        assert self.ledger.renew(self.claims) == [self._is_valid(claim) for claim in self.claims]

    def a_worker_finishes(self) -> None:
        for claim in self._some_claim():
            after = [
                Recipient(each.address, self.random.choice(OUTCOMES), "a reply") if each.state.is_open else each
                for each in claim.recipients
            ]
            done = Finish(
                state=letter_state([each.state for each in after]),
                wait_ms=0,
                recipients=after,
                attempts=claim.attempts + 1,
                uncertain=claim.uncertain,
                pauses=0,
                reason="",
                event={"event": "attempt"},
            )
            is_valid = self._is_valid(claim)
            assert self.ledger.finish(claim, done) == is_valid
            self.claims.remove(claim)
            if is_valid:
                got_it = {each.address for each in after if each.state is RecipientState.ACCEPTED}
                assert got_it >= self.accepted[claim.letter_id], "a claim asks for nobody who was accepted before"
                self.accepted[claim.letter_id] = got_it

    def a_worker_looks_at_the_schedule(self) -> None:
        self.ledger.release_due(10, self.random.choice([0, 1000]))

    def an_operator_acts(self) -> None:
        with contextlib.suppress(TooLate, UnknownLetter):
            self.random.choice(ACTS)(self.ledger, self.random.choice(["L1", "L2"]), by="ann")

    def retention_ends(self) -> None:
        self.ledger.forget_due(10)

    def _some_claim(self) -> list[Claim]:
        return self.random.sample(self.claims, min(1, len(self.claims)))

    def _is_valid(self, claim: Claim) -> bool:
        return self.seen.get(claim.letter_id) is LetterState.SENDING and self.valid[claim.letter_id] == claim.nonce

    def check(self) -> None:
        """Look whether all is in order."""
        for letter_id, before in list(self.seen.items()):
            pipeline: Any = self.ledger.redis.pipeline(transaction=False)
            for state in LetterState:
                pipeline.zscore(self.ledger.keys.index_of(letter_id, state), letter_id)
            found = zip(LetterState, pipeline.execute(), strict=True)
            places = [state for state, score in found if score is not None]
            if not places:
                assert before.is_final, "only what is over is forgotten"
                assert not self.ledger.redis.exists(self.ledger.keys.letter(letter_id))
                assert not self.ledger.redis.exists(self.ledger.keys.history(letter_id))
                del self.seen[letter_id]
                continue
            status = views.status(self.ledger, letter_id)
            assert places == [status.state], "a letter is in the index of its state, and in no other"
            self.seen[letter_id] = status.state
            if status.state is not before:
                assert status.state in EDGES[before], f"from {before} to {status.state} there is no edge"
                self.gone[before, status.state] += 1
            got_it = {address for address, each in status.recipients.items() if each.state is RecipientState.ACCEPTED}
            assert got_it == self.accepted[letter_id], "who was accepted stays accepted"
            if status.state.is_final:
                assert not any(each.state.is_open for each in status.recipients.values())


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_the_ledger_is_in_order(seed: int, redis_url: str) -> None:
    with client(redis_url) as redis:
        chance = Chance(redis, Random(seed))
        for _ in range(STEPS):
            chance.step()
        edges = {(source, target) for source, targets in EDGES.items() for target in targets}
        assert len(chance.gone.keys() & edges) > len(edges) / 2, "it went most of the ways there are"
