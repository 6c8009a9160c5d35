"""The embedded server: it lives as long as whoever started it, and no thread's end is taken for that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from redis import Redis

from postroom_worker.dev.server import server


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    with ExitStack() as running:
        with ThreadPoolExecutor(1) as starting:
            started = starting.submit(running.enter_context, server(tmp_path)).result()
        # It is asked after the thread's end: the kernel sends the signal then, if it sends one, before join() returns.
        with Redis.from_url(started.url) as redis:
            for _ in range(20):
                assert redis.ping()
        assert started.process.poll() is None
