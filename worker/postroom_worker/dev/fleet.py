"""A worker as a child process, for the demo, for development and for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from postroom_worker.dev.server import dying_with_parent

_GRACE_S = 20


@dataclass(slots=True)
class Worker:
    """A running worker: its main process, with the children that deliver."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """Stop it in order: letters in hand are finished."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Stop it and all its children as kill -9 does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(folder: Path, environment: Mapping[str, str], name: str = "worker", *options: str) -> Worker:
    """Start a worker; the caller stops it.

    Args:
        folder: where its log goes.
        environment: the ``POSTROOM_*`` variables it gets.
        name: its node name, and its log's.
        options: of Celery's command line, such as ``--concurrency=2``.
    """
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "celery", "-A", "postroom_worker", "worker", "--loglevel", "INFO"]
    command += ["--hostname", f"{name}@%h", "--without-gossip", "--without-mingle", *options]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment, "C_FORCE_ROOT": "1"},
            start_new_session=True,
            # SIGTERM would have it wait for a server that ends with us, too.
            preexec_fn=dying_with_parent(signal.SIGKILL),
        )
    return Worker(process, log)


@contextmanager
def worker(folder: Path, environment: Mapping[str, str], name: str = "worker", *options: str) -> Iterator[Worker]:
    """Run a worker as long as this lasts: as `start`."""
    running = start(folder, environment, name, *options)
    try:
        yield running
    finally:
        running.stop()
