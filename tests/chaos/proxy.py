"""A TCP proxy before Redis that loses answers: the script has run, and its caller hears nothing but the line's end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._to_lose = 0
        self._lock = Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.server_address[1]}/0"

    def lose(self, answers: int) -> None:
        """Lose the answers to the next so many requests that run a script."""
        with self._lock:
            self._to_lose += answers

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

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self.server.target) as redis:
            answers = Thread(target=self._answers, args=(redis,), daemon=True)
            answers.start()
            with contextlib.suppress(OSError):
                while octets := self.request.recv(_BLOCK):
                    self.is_cut = self.is_cut or self.server.takes(octets)
                    redis.sendall(octets)
            _end(redis)
            answers.join()

    def _answers(self, redis: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := redis.recv(_BLOCK):
                if self.is_cut:
                    self.server.count()
                    break
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
