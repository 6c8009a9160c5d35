"""What redis-py raises becomes the one error that callers know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from postroom.errors import LedgerUnavailable
from postroom.ledger.scripts import is_full
from postroom.reply import printable


@contextmanager
def available(letter_id: str | None = None) -> Iterator[None]:
    """Turn what redis-py raises into the one error that callers know.

    Raises:
        LedgerUnavailable: in place of any error of redis-py.
    """
    try:
        yield
    except RedisError as error:
        problem = (
            "Redis is full" if is_full(error) else f"Redis did not answer as it should ({printable(str(error), 200)})"
        )
        about = f"; letter {letter_id} may have been accepted, and sending it again under its id is safe"
        raise LedgerUnavailable(f"{problem}{about if letter_id else ''}", letter_id) from error
