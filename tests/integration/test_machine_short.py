"""A machine that has no file descriptors or threads left: letters wait at no cost, and no relay is blamed for it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from house import Desk, desk
from postroom import LetterState
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import scripted_relay


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Let nothing more be opened as long as this lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def no_thread(_: Thread) -> None:
    raise RuntimeError("can't start new thread")


def assert_it_is_only_us(here: Desk) -> None:
    """A letter waits; the relay is as it was, and serves as soon as we can."""
    receipt = here.accept("ann@example.com")
    assert here.standing().state == "closed"
    assert here.deliver(receipt).state is LetterState.SENT


def test_without_file_descriptors_letters_wait_at_no_cost(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept("first@example.com")).state is LetterState.SENT
        here.office.pool.close()
        receipt = here.accept("ann@example.com")
        with no_file_descriptors():
            deliver(here.office, [receipt.id])
        status = receipt.status()
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert_it_is_only_us(here)


def test_without_threads_letters_go_through_fewer_sessions_and_leases_are_kept_later(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept("first@example.com")).state is LetterState.SENT
        receipts = [here.accept(f"a-{number}@example.com") for number in range(40)]
        with monkeypatch.context() as patch:
            patch.setattr(Thread, "start", no_thread)
            deliver(here.office, [each.id for each in receipts])
        assert {each.status().state for each in receipts} == {LetterState.SENT}
        assert len(relay.sessions) == 1


def test_claims_are_renewed_as_soon_as_there_is_a_thread_for_it(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("ann@example.com")
        with monkeypatch.context() as patch:
            patch.setattr(Thread, "start", no_thread)
            deliver(here.office, [receipt.id])
        assert (receipt.status().state, receipt.status().attempts) == (LetterState.DEFERRED, 0)
        assert_it_is_only_us(here)
        assert here.office.leases._thread is not None
        assert here.office.leases._thread.is_alive()
