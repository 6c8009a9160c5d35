"""The embedded server: it lives as long as whoever started it, and no thread's end is taken for that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from subprocess import TimeoutExpired

import pytest
from redis import Redis

from postroom_worker.dev.server import server


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    with ExitStack() as running:
        with ThreadPoolExecutor(1) as starting:
            started = starting.submit(running.enter_context, server(tmp_path)).result()
        # A server that was told to end looks at that ten times a second.
        with pytest.raises(TimeoutExpired):
            started.process.wait(0.4)
        with Redis.from_url(started.url) as redis:
            assert redis.ping()
