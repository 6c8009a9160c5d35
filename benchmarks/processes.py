"""Programs that run beside the benchmark. Each leads a session (setsid), by which its children are found and ended."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from environments import NotToBeHad
from postroom_worker.dev.server import dying_with_parent

_HERE = Path(__file__).resolve().parent


@contextmanager
def running(
    command: str, log: Path, variables: Mapping[str, str], *, folder: Path = _HERE, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a program as long as this lasts; then it is killed, and its children with it.

    Args:
        command: its command line.
        log: what it says goes to files of this name, ``.out`` and ``.err``.
        variables: of its environment, beside those of ours that are no settings of Postroom.
        folder: where it runs.
        talks: standard input and output are pipes to us.

    Raises:
        NotToBeHad: there is no such program.
    """
    with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
        try:
            process = subprocess.Popen(
                shlex.split(command),
                cwd=folder,
                env={**_ours(), **variables},
                text=True,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=err,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGKILL),
            )
        except FileNotFoundError as error:
            raise NotToBeHad(f"there is no {error.filename} here") from None
    try:
        yield process
    finally:
        kill(process)
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(OSError):
                pipe.close()


def _ours() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def kill(process: subprocess.Popen[str]) -> None:
    """End a program and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
