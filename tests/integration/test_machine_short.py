"""A machine that has no file descriptors or threads left: letters wait at no cost, and no relay is blamed for it."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from house import Desk, desk
from postroom import LetterState
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import OFFERS, both, close, say, scripted_relay
from postroom_worker.smtp import pool
from postroom_worker.smtp.session import Session


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


def test_letters_of_a_flight_that_the_relay_ended_wait_when_there_is_no_session_for_them(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay said 421 and hung up: it took nothing of what came behind, though their ends were written."""

    def lacking(*_: object) -> Session:
        raise OSError(errno.EMFILE, "too many open files")

    def end(_: object) -> None:
        monkeypatch.setattr(pool, "Session", lacking)

    script = {"mail": [say("250 ok"), both(say("421 4.3.2 closing"), end, close)]}
    with scripted_relay(script, offers=[*OFFERS, "CHUNKING"]) as relay, desk(redis_url, relay.url) as here:
        receipts = [here.accept(f"a-{number}@example.com", on_uncertain="hold") for number in range(4)]
        deliver(here.office, [each.id for each in receipts])
        first, *others = [each.status() for each in receipts]
        assert first.state is LetterState.SENT
        assert {(each.state, each.attempts) for each in others} == {(LetterState.DEFERRED, 0)}


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
