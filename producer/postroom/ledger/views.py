"""Reading the ledger: one letter, or the letters of a state page by page. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from postroom.errors import UnknownLetter
from postroom.ledger.record import Account, LetterStatus, Recipients, RecipientStatus, decode_recipients
from postroom.ledger.transitions import Bell, Ledger, available
from postroom.states import LetterState

_FIELDS = ("state", "recipients", "attempts", "reason", "accepted_ms", "subject", "sender")
_PAGE = 500


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
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        for letter_id in letter_ids:
            pipeline.hmget(ledger.keys.letter(letter_id), *_FIELDS)
        rows = pipeline.execute()
        for letter_id, row in zip(letter_ids, rows, strict=True):
            if row[0] is None:
                raise UnknownLetter(f"there is no letter {letter_id} in the ledger: it never was, or was forgotten")
            pipeline.zscore(ledger.keys.index_of(letter_id, LetterState(row[0].decode())), letter_id)
        scores = pipeline.execute()
    return [_status(*each) for each in zip(letter_ids, rows, scores, strict=True)]


def _status(letter_id: str, row: list[bytes | None], score: float | None) -> LetterStatus:
    state, recipients, attempts, reason, accepted_ms, subject, sender = (each or b"" for each in row)
    due = state.decode() in (LetterState.DEFERRED, LetterState.SCHEDULED) and score is not None
    return LetterStatus(
        id=letter_id,
        state=LetterState(state.decode()),
        recipients={
            each.address: RecipientStatus(each.state, each.reply, each.attempts)
            for each in decode_recipients(recipients)
        },
        attempts=int(attempts or 0),
        next_attempt_at=score / 1000 if due and score is not None else None,
        reason=reason.decode(),
        accepted_at=int(accepted_ms or 0) / 1000,
        subject=subject.decode(),
        sender=sender.decode(),
    )


def account(ledger: Ledger, letter_id: str) -> Account:
    """Return a letter's status and its whole history.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    current = status(ledger, letter_id)
    with available(letter_id):
        events = ledger.redis.lrange(ledger.keys.history(letter_id), 0, -1)
    return Account(current, tuple(msgspec.json.decode(event) for event in events))


def recipients(ledger: Ledger, letter_id: str) -> tuple[LetterState, Recipients]:
    """Return a letter's state and recipients, as the verb `operate` wants to have seen them.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    with available(letter_id):
        state, text = ledger.redis.hmget(ledger.keys.letter(letter_id), "state", "recipients")
    if state is None or text is None:
        raise UnknownLetter(f"there is no letter {letter_id} in the ledger: it never was, or was forgotten")
    return LetterState(state.decode()), decode_recipients(text)


def bell(ledger: Ledger, letter_id: str) -> Bell:
    """Return the bell to ring for a letter.

    Raises:
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    with available(letter_id):
        queue, summary = ledger.redis.hmget(ledger.keys.letter(letter_id), "queue", "summary")
    if queue is None or summary is None:
        raise UnknownLetter(f"there is no letter {letter_id} in the ledger: it never was, or was forgotten")
    return Bell(letter_id, queue.decode(), summary.decode())


def letter_json(ledger: Ledger, letter_id: str) -> bytes | None:
    """Return the letter itself as JSON, or None when only its account is kept."""
    with available(letter_id):
        return ledger.redis.hget(ledger.keys.letter(letter_id), "letter")


def letters(ledger: Ledger, state: LetterState) -> Iterator[str]:
    """Yield the ids of the letters in a state, by the time at which something has to happen next, page by page."""
    for partition in range(ledger.keys.partitions):
        index = ledger.keys.index(state, partition)
        start = 0
        while True:
            with available():
                page = ledger.redis.zrange(index, start, start + _PAGE - 1)
            yield from (letter_id.decode() for letter_id in page)
            if len(page) < _PAGE:
                break
            start += _PAGE


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
