"""Reading the ledger: one letter, or the letters of a state. Nothing here changes anything."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import msgspec

from postroom.errors import UnknownLetter
from postroom.ledger.availability import available
from postroom.ledger.connection import FOREVER_MS
from postroom.ledger.record import Account, LetterStatus, Recipients, RecipientStatus, decode_recipients, text
from postroom.ledger.scripts import Call
from postroom.ledger.transitions import Bell, Ledger
from postroom.states import LetterState

_FIELDS = ("state", "recipients", "attempts", "reason", "accepted_ms", "subject", "sender", "tags", "relay")
_PAGE, _PAGE_MIN = 500, 50

_Row = Sequence[str]
"""A letter's fields, in the order of `_FIELDS`; empty is one that it has not."""
_packed = msgspec.msgpack.Decoder(list[list[str]])


def status(ledger: Ledger, letter_id: str) -> LetterStatus:
    """Return what became of a letter so far.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    return statuses(ledger, [letter_id])[0]


def statuses(ledger: Ledger, letter_ids: Sequence[str]) -> list[LetterStatus]:
    """Return the statuses of several letters, in two round trips.

    Raises:
        UnknownLetter: one of them is not there.
        LedgerUnavailable: Redis is away.
    """
    found = present(ledger, letter_ids)
    for letter_id in letter_ids:
        if letter_id not in found:
            raise _unknown(letter_id)
    return [found[letter_id] for letter_id in letter_ids]


def present(ledger: Ledger, letter_ids: Sequence[str]) -> dict[str, LetterStatus]:
    """Return the statuses of those letters that are there, by id, in order; in two round trips.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        for letter_id in letter_ids:
            pipeline.hmget(ledger.keys.letter(letter_id), *_FIELDS)
        found = [[text(field) for field in row] for row in pipeline.execute()]
        rows = {each: row for each, row in zip(letter_ids, found, strict=True) if row[0]}
        for letter_id, row in rows.items():
            pipeline.zscore(ledger.keys.index_of(letter_id, LetterState(row[0])), letter_id)
        scores = pipeline.execute()
    return {each: _status(each, row, score) for (each, row), score in zip(rows.items(), scores, strict=True)}


def _unknown(letter_id: str) -> UnknownLetter:
    return UnknownLetter(f"there is no letter {letter_id} in the ledger: it never was, or was forgotten")


def _status(letter_id: str, row: _Row, score: float | None) -> LetterStatus:
    state, recipients, attempts, reason, accepted_ms, subject, sender, tags, relay = row
    due = state in (LetterState.DEFERRED, LetterState.SCHEDULED) and score is not None
    return LetterStatus(
        id=letter_id,
        state=LetterState(state),
        recipients={
            each.address: RecipientStatus(each.state, each.reply, each.attempts)
            for each in decode_recipients(recipients)
        },
        attempts=int(attempts or 0),
        next_attempt_at=score / 1000 if due and score is not None else None,
        reason=reason,
        accepted_at=int(accepted_ms or 0) / 1000,
        subject=subject,
        sender=sender,
        tags=tuple(tags.split()),
        relay=relay,
    )


def account(ledger: Ledger, letter_id: str) -> Account:
    """Return a letter's status and its whole history.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    current = status(ledger, letter_id)
    with available():
        events = ledger.redis.lrange(ledger.keys.history(letter_id), 0, -1)
    return Account(current, tuple(msgspec.json.decode(event) for event in events), ledger.now_ms())


def recipients(ledger: Ledger, letter_id: str) -> tuple[LetterState, Recipients]:
    """Return a letter's state and recipients, as the verb `operate` wants to have seen them.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    state, kept = _fields(ledger, letter_id, "state", "recipients")
    return LetterState(state), decode_recipients(kept)


def bell(ledger: Ledger, letter_id: str) -> Bell:
    """Return the bell to ring for a letter.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    queue, summary = _fields(ledger, letter_id, "queue", "summary")
    return Bell(letter_id, queue, summary)


def letter_json(ledger: Ledger, letter_id: str) -> bytes | None:
    """Return the letter itself as JSON, or None when only its account is kept."""
    with available():
        return cast("bytes | None", ledger.redis.hget(ledger.keys.letter(letter_id), "letter"))


def begins_in_ms(ledger: Ledger, letter_id: str) -> int:
    """Return how long it is until a letter may first be sent; 0 or less when it may be already.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    give_up_ms, give_up_in_ms = _fields(ledger, letter_id, "give_up_ms", "give_up_in_ms")
    # The time until it is given up counts from there (accept.lua, operate.lua).
    return int(give_up_ms) - int(give_up_in_ms) - ledger.now_ms()


def _fields(ledger: Ledger, letter_id: str, *names: str) -> list[str]:
    """Fields that every letter has, as text."""
    with available():
        found = ledger.redis.hmget(ledger.keys.letter(letter_id), *names)
    if None in found:
        raise _unknown(letter_id)
    return [text(each) for each in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What decides when something happens to a letter next, and what."""

    due_ms: int
    """When something has to happen next, in milliseconds since 1970: what, follows from the state."""
    is_kept: bool
    """Whether nothing ever has to."""
    queue: str
    worker: str
    """Which has claimed it; empty when none has."""
    in_window: bool
    """Whether its content was sent, and the reply is awaited."""
    on_uncertain: str
    expires_ms: int
    """When it is worthless; 0 for never."""
    give_up_ms: int
    via: str = ""
    """The relay that an operator sends it through."""


def circumstances(ledger: Ledger, letter_id: str) -> Circumstances:
    """Return what decides when something happens to a letter next, and what.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    with available():
        row = ledger.redis.hmget(
            ledger.keys.letter(letter_id),
            *("state", "queue", "worker", "window", "on_uncertain", "expires_ms", "give_up_ms", "via"),
        )
    state, queue, worker, window, on_uncertain, expires_ms, give_up_ms, via = (text(each) for each in row)
    if not state:
        raise _unknown(letter_id)
    with available():
        score = ledger.redis.zscore(ledger.keys.index_of(letter_id, LetterState(state)), letter_id) or 0
    return Circumstances(
        due_ms=int(score),
        is_kept=score >= FOREVER_MS,
        queue=queue,
        worker=worker,
        in_window=bool(window),
        on_uncertain=on_uncertain,
        expires_ms=int(expires_ms or 0),
        give_up_ms=int(give_up_ms or 0),
        via=via,
    )


def listing(ledger: Ledger, state: LetterState, *, latest_first: bool = False) -> Iterator[LetterStatus]:
    """Yield the letters in a state, in order, read page by page as they are asked for.

    Letters that come and go meanwhile may be missed: to act on all of them, take `scan`.

    Args:
        ledger: where they are recorded.
        state: which letters.
        latest_first: begin with those for which something has to happen last; else with those that are next.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    partitions = range(ledger.keys.partitions)
    each_in_order = [_in_order(ledger, state, partition, latest_first=latest_first) for partition in partitions]
    for _, found in heapq.merge(*each_in_order, key=lambda each: each[0], reverse=latest_first):
        yield found


def _in_order(
    ledger: Ledger, state: LetterState, partition: int, *, latest_first: bool
) -> Iterator[tuple[float, LetterStatus]]:
    """The letters of a state in a partition, each with its score."""
    index, size = ledger.keys.index(state, partition), max(_PAGE_MIN, _PAGE // ledger.keys.partitions)
    for start in count(0, size):
        with available():
            page = ledger.redis.zrange(index, start, start + size - 1, desc=latest_first, withscores=True)
        yield from _still(ledger, state, page)
        if len(page) < size:
            break


def scan(ledger: Ledger, state: LetterState) -> Iterator[LetterStatus]:
    """Yield all letters in a state, in no order, read page by page as they are asked for.

    None that stays in it is missed, whatever comes and goes meanwhile, and whatever is done to those that were met:
    SCAN's promise. The order is that of a hash, so that the first thousand are a fair sample.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    for partition in range(ledger.keys.partitions):
        index, cursor = ledger.keys.index(state, partition), 0
        while True:
            with available():
                cursor, page = ledger.redis.zscan(index, cursor, count=_PAGE)
            yield from (found for _, found in _still(ledger, state, page))
            if not cursor:
                break


def _still(ledger: Ledger, state: LetterState, page: Any) -> Iterator[tuple[float, LetterStatus]]:
    """The letters of a page of a state's index that are still in it, with their scores."""
    scores = {text(letter_id): score for letter_id, score in page}
    for (letter_id, score), row in zip(scores.items(), _rows(ledger, list(scores)), strict=True):
        if row[0] == state:
            yield score, _status(letter_id, row, score)


def _rows(ledger: Ledger, letter_ids: Sequence[str]) -> Sequence[_Row]:
    """The fields of each of these letters of one partition."""
    if not letter_ids:
        return ()
    with available():
        packed = ledger.scripts.run(Call("look", [ledger.keys.letter(each) for each in letter_ids], _FIELDS))
    return _packed.decode(packed)


def counts(ledger: Ledger) -> dict[LetterState, int]:
    """Return how many letters are in each state."""
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        for state in LetterState:
            for partition in range(ledger.keys.partitions):
                pipeline.zcard(ledger.keys.index(state, partition))
        answers = pipeline.execute()
    width = ledger.keys.partitions
    return {state: sum(answers[place * width : (place + 1) * width]) for place, state in enumerate(LetterState)}
