"""A TCP proxy before Redis: it loses answers, swallows what open lines carry, is slow, and cuts lines.

When an answer is lost, the script has run, and its caller hears nothing but the line's end. When a line is swallowed,
nobody hears anything: it stays open at both ends, as one does whose other end has lost its power.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

_BLOCK = 65536


class Proxy(ThreadingTCPServer):
    """Listens on a port of its own, and passes everything on to another."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Line)
        self.target = ("127.0.0.1", port)
        self.lost = 0
        """Answers that were lost so far."""
        self.slow_s = 0.0
        """How long whatever passes takes, either way."""
        self.cut_part = 0.0
        """How many of the requests end their line, from 0 to 1."""
        self.cut = 0
        """Lines that ended so."""
        self._random = Random(1)
        self._to_lose = 0
        self._lines = 0
        self._swallowed = 0
        self._lock = Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.server_address[1]}/0"

    def lose(self, answers: int) -> None:
        """Lose the answers to the next so many requests that run a script."""
        with self._lock:
            self._to_lose += answers

    def swallow(self) -> None:
        """Swallow what the lines carry that are open now; new ones pass."""
        with self._lock:
            self._swallowed = self._lines

    def line(self) -> int:
        """Return the number of a new line."""
        with self._lock:
            self._lines += 1
            return self._lines

    def passes(self, line: int) -> bool:
        """Wait for as long as all takes, and return whether it gets through on this line."""
        if self.slow_s:
            time.sleep(self.slow_s)
        return line > self._swallowed

    def cuts(self) -> bool:
        """True when the line is to end here."""
        with self._lock:
            is_cut = self._random.random() < self.cut_part
            self.cut += is_cut
            return is_cut

    def takes(self, request: bytes) -> bool:
        """True when the answer to this request is to be lost."""
        with self._lock:
            is_lost = self._to_lose > 0 and b"EVALSHA" in request
            self._to_lose -= is_lost
            return is_lost

    def count(self) -> None:
        """Note that an answer was lost."""
        with self._lock:
            self.lost += 1


class _Line(BaseRequestHandler):
    """One connection: the requests are passed on here, the answers in a thread."""

    request: socket.socket
    server: Proxy
    is_cut = False

    def setup(self) -> None:
        """Begin."""
        self.number = self.server.line()

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self.server.target) as redis:
            answers = Thread(target=self._answers, args=(redis,), daemon=True)
            answers.start()
            with contextlib.suppress(OSError):
                while octets := self.request.recv(_BLOCK):
                    self.is_cut = self.is_cut or self.server.takes(octets)
                    if self.server.cuts():
                        break
                    if self.server.passes(self.number):
                        redis.sendall(octets)
            _end(redis)
            answers.join()

    def _answers(self, redis: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := redis.recv(_BLOCK):
                if self.is_cut:
                    self.server.count()
                    break
                if self.server.passes(self.number):
                    self.request.sendall(octets)
        _end(self.request)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """Run a proxy before a port of the loopback interface as long as this lasts."""
    with Proxy(port) as running:
        Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield running
        finally:
            running.shutdown()
