"""Where the letters of a row go: a server that takes all of them, and counts; perhaps behind a slow line."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from environments import POSTFIX, NotToBeHad, made
from postroom_worker.dev.server import free_port, wait_until
from processes import running

_TAIL = 200
_COUNT = re.compile(rb"mesg=(\d+)\r")
_SESSIONS = 512


@dataclass(frozen=True, slots=True)
class Sink:
    """A running null server."""

    program: str
    port: int
    counts: Path

    def accepted(self) -> int:
        """How many letters it took so far, by its own account."""
        with self.counts.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            found = _COUNT.findall(file.read())
        return int(found[-1]) if found else 0


@contextmanager
def sink(folder: Path, *, python: bool = False, certificate: Path | None = None) -> Iterator[Sink]:
    """Run a null server as long as this lasts: smtp-sink, or, where it cannot be had, the one in Python.

    Args:
        folder: where its counter goes.
        python: the one in Python in any case.
        certificate: a PEM file with a key and its certificates: offer STARTTLS, which smtp-sink has not.
    """
    port = free_port()
    variables = None if python or certificate else _smtp_sink()
    if variables is None:
        command = f"{sys.executable} null_server.py {port} {certificate or ''}"
    else:
        user = "-u nobody" if os.geteuid() == 0 else ""
        command = f"smtp-sink -c {user} -m {_SESSIONS} 127.0.0.1:{port} {_SESSIONS}"
    with running(command, folder / "sink", variables or {}):
        wait_until(lambda: _listens(port), "the null server listens")
        yield Sink("null_server.py" if variables is None else "smtp-sink", port, folder / "sink.out")


@contextmanager
def slow_line(folder: Path, target: int, delay_ms: float) -> Iterator[int]:
    """Run a line that holds all octets so long each way before a port, and give the port to connect to."""
    port = free_port()
    with running(f"{sys.executable} slow_line.py {port} {target} {delay_ms}", folder / "line", {}):
        wait_until(lambda: _listens(port), "the slow line listens")
        yield port


@lru_cache(maxsize=1)
def _smtp_sink() -> Mapping[str, str] | None:
    try:
        return made(POSTFIX)
    except NotToBeHad as error:
        print(f"the null server in Python takes the place of smtp-sink: {error}", file=sys.stderr)
        return None


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
