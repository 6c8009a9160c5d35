"""A bound of time around what has none of its own: the resolver, and functions that are not ours."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def within(timeout_s: float, work: Callable[[], T]) -> T:
    """Return what the work returns, or raise what it raises.

    Raises:
        TimeoutError: it takes longer. It goes on in a thread that nobody waits for; its result is forgotten.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            # Whoever waits raises it.
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(timeout_s)
    except TimeoutError:
        raise TimeoutError(f"no end after {timeout_s:g} s") from None
