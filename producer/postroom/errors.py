"""Every error that Postroom raises.

PostroomError
├── InvalidLetter        what was handed in cannot be sent: mend the fields it names. Also a ValueError.
├── LedgerUnavailable    Redis is away, full or read-only: send again later, under the same id or idempotency key.
├── PartlySent           some letters of many were accepted: it carries their receipts, and its cause.
├── UnknownLetter        no such letter: it never was, or its retention is over. Also a LookupError.
├── TooLate              the letter is beyond what was asked of it (cancelling a letter that is being sent).
├── NewerSchema          a letter written by a newer Postroom: it is left for newer workers.
└── InvalidSettings      a POSTROOM_* variable or a relay's description cannot be read. Also a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


class PostroomError(Exception):
    """The root of every error that Postroom raises."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what the caller handed in."""

    field: str
    """The keyword it came in by, with its place: ``to[1]``, ``headers['X-Id']``."""
    problem: str
    """What is wrong with the value; shows no more of the value than is needed to find it."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}; {self.remedy}"


class InvalidLetter(PostroomError, ValueError):
    """What was handed in cannot be sent. Nothing was queued."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        """Every problem found, in the order of the fields."""
        super().__init__("\n".join(map(str, self.problems)))


def invalid(field: str, problem: str, remedy: str) -> InvalidLetter:
    """Return the error for a single problem."""
    return InvalidLetter([Problem(field, problem, remedy)])


class Problems(list[Problem]):
    """Collects the problems of a whole letter, so that the caller learns of all at once."""

    def collecting(self) -> _Collecting:
        """Keep the problems of an `InvalidLetter` raised inside a ``with``, and go on."""
        return _Collecting(self)

    def raise_if_any(self) -> None:
        """Raise one `InvalidLetter` with everything collected.

        Raises:
            InvalidLetter: there was a problem.
        """
        if self:
            raise InvalidLetter(self)


class _Collecting:
    """What `Problems.collecting` gives; every letter has some, and a generator takes four times as long."""

    __slots__ = ("_problems",)

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, InvalidLetter):
            self._problems.extend(error.problems)
            return True
        return False


class LedgerUnavailable(PostroomError):
    """Redis is away, full or read-only.

    The letter may have been accepted all the same (the answer may be what was lost): sending it again under
    the same id or idempotency key is safe.
    """

    def __init__(self, message: str, letter_id: str | None = None, *, is_alert: bool = False) -> None:
        super().__init__(message)
        self.letter_id = letter_id
        """The id of the letter in hand, if there was one."""
        self.is_alert = is_alert
        """True when it will not pass by itself: Redis is full, or refuses our password."""


class PartlySent(PostroomError):
    """Sending many letters ended early, for the reason that is its cause.

    When that is `LedgerUnavailable`, further letters may have been accepted: those that were on their way to Redis.
    """

    def __init__(self, receipts: Sequence[Any]) -> None:
        super().__init__(f"{len(receipts)} letters are known to be accepted")
        self.receipts = receipts
        """Of the letters that were accepted, in order: each a `Receipt`."""


class UnknownLetter(PostroomError, LookupError):
    """There is no such letter in the ledger: it never was, or its retention is over."""


class TooLate(PostroomError):
    """The letter is already beyond what was asked of it."""


class InvalidSettings(PostroomError, ValueError):
    """A setting cannot be read, or contradicts another."""


class NewerSchema(PostroomError):
    """A letter was written by a newer Postroom than this one; newer workers can read it."""

    def __init__(self, schema: int, known: int) -> None:
        super().__init__(f"the letter is of schema {schema}, newer than {known}: it is left for newer workers")
        self.schema = schema
        """Of the letter."""
