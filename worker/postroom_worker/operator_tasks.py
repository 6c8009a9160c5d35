"""The operator's tasks: what the command does to a letter, for those who can only start tasks, as Flower's API can.

    postroom.retry  postroom.flush  postroom.cancel  postroom.hold  postroom.release  postroom.expire

Each takes a letter's id, and by keyword ``reason`` and ``by``. Doing it twice is doing it once. What cannot be undone
is left to the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from celery import Task

from postroom import operate
from postroom.bell import Bells
from postroom.errors import PostroomError, TooLate
from postroom.ledger import Bell, audit, views
from postroom.letter_id import check_id
from postroom.reply import printable
from postroom.sending import ring
from postroom.states import LetterState
from postroom_worker.app import app
from postroom_worker.office import office


@dataclass(frozen=True, slots=True)
class Act:
    """One of the tasks."""

    operation: Callable[..., Bell | None]
    """Of `postroom.operate`."""
    done: frozenset[LetterState]
    """States in which there is nothing left to do: where it leads to, and what comes of that."""


_UNDER_WAY = frozenset({LetterState.QUEUED, LetterState.SENDING})

ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "postroom.retry": Act(operate.retry, _UNDER_WAY),
        "postroom.flush": Act(operate.flush, _UNDER_WAY),
        "postroom.cancel": Act(operate.cancel, frozenset({LetterState.CANCELLED, LetterState.PARTIAL})),
        "postroom.hold": Act(operate.hold, frozenset({LetterState.HELD})),
        "postroom.release": Act(operate.release, _UNDER_WAY | {LetterState.SCHEDULED}),
        "postroom.expire": Act(operate.expire, frozenset({LetterState.FAILED, LetterState.PARTIAL})),
    }
)
"""By the task's name."""


def _task(name: str, act: Act) -> Callable[..., dict[str, Any]]:
    def run(self: Task[..., Any], letter_id: str, *, reason: str = "", by: str = "") -> dict[str, Any]:
        who = printable(by or str(self.request.origin or "a task"))
        return _do(name, act, check_id(letter_id, "letter_id"), who, printable(reason))

    return run


def _do(name: str, act: Act, letter_id: str, by: str, why: str) -> dict[str, Any]:
    """Act on the letter, and return its state, and whether this changed it.

    Raises:
        TooLate: it cannot be done to it any more.
        UnknownLetter: there is no such letter.
        LedgerUnavailable: Redis is away.
    """
    ledger = office().ledger
    entry = audit.Entry(act=name.removeprefix("postroom."), by=by, why=why, letters=letter_id, number=1)
    audit.begin(ledger, entry)
    done = 0
    try:
        bell = act.operation(ledger, letter_id, by=by, reason=why)
        done = 1
        if bell:
            ring(Bells.of(office().settings), bell)
    except TooLate:
        if views.status(ledger, letter_id).state not in act.done:
            raise
    finally:
        audit.end(ledger, entry, done=done, failed=1 - done)
    return {"state": str(views.status(ledger, letter_id).state), "done": bool(done)}


for _name, _act in ACTS.items():
    app.task(name=_name, bind=True, throws=(PostroomError,))(_task(_name, _act))
