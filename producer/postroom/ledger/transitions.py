"""The ledger's verbs: each is a script of the same name, an edge (or a few) of the states, guarded and idempotent."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from postroom import clock
from postroom.errors import LedgerUnavailable
from postroom.ledger.availability import available, is_fault
from postroom.ledger.cluster import Client, Cluster
from postroom.ledger.contents import Contents
from postroom.ledger.durability import Durability
from postroom.ledger.keys import Keys
from postroom.ledger.layout import Layout
from postroom.ledger.record import Claim, Recipient, decode_recipients, encode_recipients, text
from postroom.ledger.relays import Relays
from postroom.ledger.room import Room
from postroom.ledger.scripts import Call, Scripts
from postroom.reply import printable
from postroom.states import FINAL, UNSETTLED, LetterState

log = logging.getLogger("postroom")


class NewLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What `Ledger.accept` records."""

    id: str
    letter: bytes
    digest: str
    """Of what the caller asked for, so that the same key with other content is noticed."""
    recipients: Sequence[Recipient]
    state: LetterState = LetterState.QUEUED
    due_ms: int = 0
    """When to send a scheduled letter, in milliseconds since 1970."""
    expires_in_ms: int = 0
    give_up_in_ms: int
    queue: str
    on_uncertain: str = "resend"
    subject: str = ""
    sender: str = ""
    summary: str = ""
    """What the monitor may show of it: a redacted recipient."""
    reason: str = ""
    tags: Sequence[str] = ()
    contents: Sequence[str] = ()
    """The digests of what it keeps in the contents."""
    trace: str = ""
    """The trace that it is accepted in, and all those recorded with it; empty when there is none."""


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """What `Ledger.finish` records."""

    state: LetterState
    wait_ms: int
    """Until the next attempt, or until the letter may be forgotten."""
    recipients: Sequence[Recipient]
    attempts: int
    uncertain: int
    pauses: int
    reason: str
    event: dict[str, object]
    relay: str = ""
    """The one that was met, if one was."""
    prolong_ms: int = 0
    """By how much later it is given up."""


class Window(msgspec.Struct, frozen=True):
    """What `Ledger.record` opens."""

    claim: Claim
    relay: str
    recipients: Sequence[Recipient] | None = None
    """As they are by now, when an earlier transaction of the same attempt has decided about some of them."""


@dataclass(frozen=True, slots=True)
class Bell:
    """A letter that is ready: what to publish."""

    letter_id: str
    queue: str
    summary: str
    deaths: int = 0
    """How many times its worker died, or may have: then it goes alone, lest it take others with it."""


@dataclass(frozen=True, slots=True)
class Times:
    """The ledger's waits and bounds, in milliseconds and counts."""

    lease_ms: int
    bell_ms: int
    keep_sent_ms: int
    keep_failed_ms: int
    uncertain_max: int
    deaths_max: int
    events_max: int = 0
    """How many events the stream of each partition keeps, about; 0 for no stream."""

    def wait_ms(self, state: LetterState) -> int:
        """Return how long after now something has to happen to a letter that comes to this state."""
        if state is LetterState.QUEUED:
            return self.bell_ms
        if state in (LetterState.SENT, LetterState.CANCELLED):
            return self.keep_sent_ms
        return self.keep_failed_ms if state in FINAL else 0


class Ledger:
    """The record of all letters, in Redis. Every method is one round trip, or says otherwise."""

    def __init__(
        self,
        redis: Client,
        times: Times,
        partitions: int = 1,
        *,
        memory_part: float = 1.0,
        durability: Durability | None = None,
    ) -> None:
        """Keep letters in a Redis.

        Args:
            redis: where.
            times: waits and bounds.
            partitions: into how many slots of a cluster its keys are spread.
            memory_part: the part of Redis's memory beyond which no new letter is taken.
            durability: what a new letter, and the window of one with the policy `hold`, wait for; by default nothing.
        """
        self.redis = redis
        self.keys = Keys(partitions)
        self.times = times
        self.scripts = Scripts(redis, times.events_max)
        self.room = Room(redis, memory_part)
        # On one Redis they are on its disk before the letter; the nodes of a cluster have a file each.
        self.contents = Contents(self.scripts, self.keys, self.room, durability if isinstance(redis, Cluster) else None)
        self.layout = Layout(redis, self.keys)
        self.durability = durability

    @property
    def relays(self) -> Relays:
        """What is shared of the relays."""
        return Relays(self.scripts, self.keys)

    def accept(self, new: NewLetter) -> str:
        """Record a new letter.

        Returns:
            ``accepted``; ``known`` when this very letter is recorded already; ``other`` when another has its id.

        Raises:
            LedgerUnavailable: Redis is away, full or read-only. The letter may have been recorded.
        """
        with available(new.id):
            return text(self._run_all(self._accept_calls([new]), is_durable=True)[0])

    def accept_all(self, letters: Sequence[NewLetter]) -> list[str]:
        """Record new letters, in one round trip: for each what `accept` returns.

        Raises:
            LedgerUnavailable: Redis is away, full or read-only. Some, or all, may have been recorded.
        """
        return self.begin_accept(letters)()

    def begin_accept(self, letters: Sequence[NewLetter]) -> Callable[[], list[str]]:
        """Send new letters, and return what waits until they are recorded, and gives for each what `accept` returns.

        Raises:
            LedgerUnavailable: at either, as by `accept_all`.
        """
        with available():
            calls = self._accept_calls(letters)
            begun = self.scripts.begin(calls) if self.durability is None else None

        def wait() -> list[str]:
            with available():
                return list(map(text, begun() if begun else self._run_all(calls, is_durable=True)))

        return wait

    def _accept_calls(self, letters: Sequence[NewLetter]) -> list[Call]:
        self.layout.check()
        self.room.check()
        return [self._accept(new) for new in letters]

    def _run_all(self, calls: Sequence[Call], *, is_durable: bool) -> list[Any]:
        """Run scripts in one round trip, and wait until what they wrote is safe, where that is asked for."""
        if not is_durable or self.durability is None:
            return self.scripts.run_all(calls)
        return self.durability.run_all(self.scripts, calls)

    def _run_apart(self, letter_ids: Sequence[str], calls: Sequence[Call], instead: Any) -> list[Any]:
        """Run a script for each letter; for one that it cannot be run for, say so, and answer `instead`."""
        answers = self.scripts.run_each(calls)
        for place, answer in enumerate(answers):
            if is_fault(answer):
                letter_id, why = letter_ids[place], printable(str(answer), 200)
                about = {"letter": letter_id}
                log.error("letter %s is damaged, and waits: %s (%s)", letter_id, why, calls[place].verb, extra=about)
                answers[place] = instead
            elif isinstance(answer, Exception):
                raise answer
        return answers

    def _accept(self, new: NewLetter) -> Call:
        event = {"event": str(new.state)} | ({"why": new.reason} if new.reason else {})
        return Call(
            "accept",
            self.keys.of_letter(new.id, new.state),
            [
                new.id,
                new.state,
                new.due_ms,
                self.times.wait_ms(new.state),
                new.expires_in_ms,
                new.give_up_in_ms,
                new.digest,
                msgspec.json.encode(event),
                new.letter,
                encode_recipients(new.recipients),
                new.queue,
                new.on_uncertain,
                new.sender,
                new.summary,
                new.subject,
                new.reason,
                " ".join(new.tags),
                " ".join(new.contents),
                new.trace,
            ],
        )

    def claim(self, letter_ids: Sequence[str], worker: str) -> list[Claim | str]:
        """Claim letters for a worker.

        Returns:
            for each id a claim, or the state that forbids it: ``unknown`` when there is no such letter, ``damaged``
            when no script can read it.
        """
        nonces = [secrets.token_hex(8) for _ in letter_ids]
        with available():
            answers = self._run_apart(
                letter_ids,
                [
                    Call(
                        "claim",
                        self.keys.of_letter(letter_id, LetterState.QUEUED, LetterState.SENDING),
                        [letter_id, nonce, self.times.lease_ms, worker],
                    )
                    for letter_id, nonce in zip(letter_ids, nonces, strict=True)
                ],
                [b"damaged"],
            )
        return [_claim(*each) for each in zip(letter_ids, nonces, answers, strict=True)]

    def renew(self, claims: Sequence[Claim]) -> list[bool]:
        """Prolong claims; False for each that is lost."""
        with available():
            answers = self.scripts.run_all(
                [
                    Call(
                        "renew",
                        [self.keys.letter(each.letter_id), self.keys.index_of(each.letter_id, LetterState.SENDING)],
                        [each.letter_id, each.nonce, self.times.lease_ms],
                    )
                    for each in claims
                ]
            )
        return [answer == 1 for answer in answers]

    def enter_window(self, claim: Claim, relay: str) -> bool:
        """Say that the end of the content is about to be sent; False when the claim is lost and nothing may be sent."""
        return self.record([], [Window(claim, relay)])[1][0]

    def finish(self, claim: Claim, done: Finish) -> bool:
        """Record what an attempt came to and give the claim back; False when the claim was lost before."""
        return self.record([(claim, done)], [])[0][0]

    def record(
        self, finished: Sequence[tuple[Claim, Finish]], windows: Sequence[Window]
    ) -> tuple[list[bool], list[bool]]:
        """Record what attempts came to, and that the ends of others are about to be sent, in one round trip.

        Returns:
            for each attempt, and for each window, False when its claim was lost: then nothing was recorded of it, and
            nothing may be sent.

        Raises:
            LedgerUnavailable: Redis is away, or what it wrote is not safe yet; recording it all again is right.
        """
        calls = [self._finish(*each) for each in finished] + [self._window(each) for each in windows]
        with available():
            answers = self._run_all(calls, is_durable=any(each.claim.on_uncertain == "hold" for each in windows))
        ends, begins = answers[: len(finished)], answers[len(finished) :]
        return [answer != b"stale" for answer in ends], [answer == 1 for answer in begins]

    def _window(self, window: Window) -> Call:
        claim, recipients = window.claim, window.recipients
        return Call(
            "enter_window",
            [self.keys.letter(claim.letter_id), self.keys.index_of(claim.letter_id, LetterState.SENDING)],
            [
                claim.letter_id,
                claim.nonce,
                self.times.lease_ms,
                window.relay,
                b"" if recipients is None else encode_recipients(recipients),
            ],
        )

    def _finish(self, claim: Claim, done: Finish) -> Call:
        return Call(
            "finish",
            self.keys.of_letter(claim.letter_id, LetterState.SENDING, done.state),
            [
                claim.letter_id,
                claim.nonce,
                done.state,
                done.wait_ms,
                encode_recipients(done.recipients),
                done.attempts,
                done.uncertain,
                done.pauses,
                done.reason,
                "1" if done.state is LetterState.SENT else "",
                msgspec.json.encode(done.event),
                done.relay,
                done.prolong_ms,
            ],
        )

    def testify(
        self,
        claim: Claim,
        *,
        seen: LetterState,
        seen_recipients: Sequence[Recipient],
        state: LetterState,
        recipients: Sequence[Recipient],
        event: dict[str, object],
    ) -> str:
        """Record what a relay said after the claim had run out in the window, on the letter as it was seen.

        Returns:
            ``settled``, ``again``, ``nothing`` (this claim left no window), or the state that the letter is in instead.
        """
        with available():
            answer: bytes = self.scripts.run(
                Call(
                    "testify",
                    self.keys.of_letter(claim.letter_id, seen, state),
                    [
                        claim.letter_id,
                        claim.nonce,
                        seen,
                        encode_recipients(seen_recipients),
                        state,
                        self.times.wait_ms(state),
                        encode_recipients(recipients),
                        "1" if state is LetterState.SENT else "",
                        msgspec.json.encode(event),
                    ],
                )
            )
        return answer.decode()

    def release_due(self, limit: int, early_ms: int = 0, *, take_over: bool = True) -> list[Bell]:
        """Move what is due to the queue, from all states that wait; at most so many of each state and partition.

        Two round trips to find what is due, and one for each state that has some.

        Args:
            limit: letters of each state and partition.
            early_ms: how much before its time a queued letter is rung for again: the queue was seen to be empty.
            take_over: False to leave claims that ran out to their workers.

        Returns:
            the bells to ring. A letter whose bell is then lost is due again after ``bell_ms``.
        """
        bells = []
        states = [each for each in UNSETTLED if take_over or each is not LetterState.SENDING]
        with available():
            for state, ids in self._due(states, limit, early_ms).items():
                early = early_ms if state is LetterState.QUEUED else 0
                times = self.times
                calls = [
                    Call(
                        "release",
                        self.keys.of_letter(letter_id, state, LetterState.QUEUED, LetterState.HELD),
                        [letter_id, state, times.bell_ms, early, times.uncertain_max, times.deaths_max],
                    )
                    for letter_id in ids
                ]
                answers = self._run_apart(ids, calls, None)
                bells += [
                    Bell(letter_id, text(answer[0]), text(answer[1]), int(answer[2]))
                    for letter_id, answer in zip(ids, answers, strict=True)
                    if answer
                ]
                for letter_id in (each for each, answer in zip(ids, answers, strict=True) if answer is None):
                    later_ms = self.now_ms() + times.bell_ms
                    self.redis.zadd(self.keys.index_of(letter_id, state), {letter_id: later_ms}, xx=True)
        return bells

    def forget_due(self, limit: int) -> int:
        """Remove letters whose retention is over, at most so many of each state and partition; returns how many.

        Two round trips to find them, and for each state that has some as many as `forget`.
        """
        with available():
            due = self._due(tuple(FINAL), limit)
            return sum(sum(self._forget(ids, state)) for state, ids in due.items())

    def forget(
        self, letter_id: str, state: LetterState, early_ms: int = 0, event: dict[str, object] | None = None
    ) -> bool:
        """Remove a letter, its account and its contents; False when it is not in this state, or not its time.

        Two round trips, and three more when there are contents.

        Args:
            letter_id: which.
            state: the final state it has to be in.
            early_ms: how much before its time it may go.
            event: what the stream of events tells of it; by default that it was forgotten.
        """
        with available():
            return self._forget([letter_id], state, early_ms, event)[0]

    def _forget(
        self, ids: Sequence[str], state: LetterState, early_ms: int = 0, event: dict[str, object] | None = None
    ) -> list[bool]:
        told = msgspec.json.encode(event or {"event": "forgotten", "from": state})
        kept = self._contents_of(ids)
        with suppress(LedgerUnavailable):
            # Should the worker die before it has dropped them. A full Redis takes no note, and has to forget.
            self.contents.note_all(kept)
        calls = [Call("forget", self.keys.of_letter(each, state), [each, state, early_ms, told]) for each in ids]
        forgotten = [answer == 1 for answer in self.scripts.run_all(calls)]
        gone = {letter_id for letter_id, is_gone in zip(ids, forgotten, strict=True) if is_gone}
        self.contents.drop_all({letter_id: sha256s for letter_id, sha256s in kept.items() if letter_id in gone})
        return forgotten

    def now_ms(self) -> int:
        """Return Redis's time, in milliseconds since 1970: the one clock that due times are judged by."""
        with available():
            seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def operate(
        self,
        letter_id: str,
        *,
        seen: LetterState,
        seen_recipients: Sequence[Recipient],
        state: LetterState,
        recipients: Sequence[Recipient],
        event: dict[str, object],
        wait_ms: int = 0,
        reason: str = "",
        anew: bool = False,
        via: str | None = None,
    ) -> str:
        """Do an operator's act on a letter as it was seen; nothing happens if it has changed meanwhile.

        Args:
            letter_id: which.
            seen: the state it was seen in.
            seen_recipients: its recipients as they were seen.
            state: the next state.
            recipients: its recipients from now on.
            event: what is written into its history.
            wait_ms: the time until the next thing happens to it.
            reason: why it is in that state.
            anew: begin its account of giving up, worker deaths and uncertain attempts anew.
            via: the relay to use from now on; empty for any, None for the one as before.

        Returns:
            ``done``; or the state it is in instead (the same when only its recipients have changed); or ``unknown``.
        """
        with available():
            answer: bytes = self.scripts.run(
                Call(
                    "operate",
                    self.keys.of_letter(letter_id, seen, state),
                    [
                        letter_id,
                        secrets.token_hex(8),
                        seen,
                        encode_recipients(seen_recipients),
                        state,
                        wait_ms,
                        encode_recipients(recipients),
                        "1" if anew else "",
                        reason,
                        msgspec.json.encode(event),
                        "=" if via is None else via,
                    ],
                )
            )
        return answer.decode()

    def _due(self, states: Sequence[LetterState], limit: int, early_ms: int = 0) -> dict[LetterState, list[str]]:
        """The letters whose time has come by Redis's clock, by state; queued ones that much early."""
        now_ms = self.now_ms()
        places = [(state, partition) for state in states for partition in range(self.keys.partitions)]
        pipeline = self.redis.pipeline(transaction=False)
        for state, partition in places:
            until_ms = now_ms + early_ms if state is LetterState.QUEUED else now_ms
            pipeline.zrange(self.keys.index(state, partition), "-inf", until_ms, byscore=True, offset=0, num=limit)
        due: dict[LetterState, list[str]] = {}
        answers = self._answers(pipeline, [self.keys.index(*place) for place in places])
        for (state, _), ids in zip(places, answers, strict=True):
            if ids:
                due.setdefault(state, []).extend(map(text, ids))
        return due

    def _contents_of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """The digests of what letters keep in the contents, of those that keep some."""
        pipeline = self.redis.pipeline(transaction=False)
        for letter_id in ids:
            pipeline.hget(self.keys.letter(letter_id), "contents")
        answers = self._answers(pipeline, [self.keys.letter(letter_id) for letter_id in ids])
        return {letter_id: text(answer).split() for letter_id, answer in zip(ids, answers, strict=True) if answer}

    def _answers(self, pipeline: Any, keys: Sequence[str]) -> list[Any]:
        """What a pipeline answers; when a key of it has the wrong type, it is put aside before that is raised."""
        with self.scripts.mending(keys):
            answers: list[Any] = pipeline.execute()
        return answers


def _claim(letter_id: str, nonce: str, answer: list[bytes]) -> Claim | str:
    if answer[0] != b"claimed":
        return answer[0].decode()
    now_ms, fence, letter, recipients, attempts, expires_ms, give_up_ms, *rest = answer[1:]
    uncertain, pauses, policy, contents, queue, give_up_in_ms, trace, via = rest
    return Claim(
        letter_id=letter_id,
        nonce=nonce,
        fence=int(fence),
        now_ms=int(now_ms),
        claimed_s=clock.steady_s(),
        letter=letter,
        recipients=decode_recipients(recipients),
        attempts=int(attempts),
        expires_ms=int(expires_ms),
        give_up_ms=int(give_up_ms),
        uncertain=int(uncertain or 0),
        pauses=int(pauses or 0),
        on_uncertain=text(policy),
        contents=tuple(text(contents).split()),
        queue=text(queue),
        begins_ms=int(give_up_ms) - int(give_up_in_ms),
        trace=text(trace),
        via=text(via),
    )
