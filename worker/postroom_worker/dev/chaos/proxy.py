"""A TCP proxy before a server: it loses answers, swallows what open lines carry, is slow, cuts lines, and hangs up.

When an answer is lost, the request was done, and its sender hears nothing but the line's end. When a line is swallowed,
nobody hears anything: it stays open at both ends, as one does whose other end has lost its power.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from threading import Lock, Thread

from postroom_worker.dev.server import free_port

_BLOCK = 65536


class Proxy:
    """Listens on a port of its own, and passes everything on to another."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
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
        self._numbers = 0
        self._swallowed = 0
        self._lines: dict[int, _Line] = {}
        """The lines that are open, by the port that their target knows."""
        self._lock = Lock()
        self._listener: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it listens, for Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def open(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on; the lines that are open go on."""
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def hang_up(self) -> None:
        """End all lines."""
        for line in list(self._lines.values()):
            line.end()

    def client_port(self, port: int) -> int:
        """Return the port of whoever is at the other end of the line that its target knows by this port; 0 for none."""
        line = self._lines.get(port)
        return line.client_port if line else 0

    def lose(self, answers: int) -> None:
        """Lose the answers to the next so many requests that run a script."""
        with self._lock:
            self._to_lose += answers

    def lose_answer(self, port: int) -> bool:
        """Lose the next answer on one line, known by its target's port, and end it; False when it has ended already."""
        line = self._lines.get(port)
        if line:
            line.loses_next = True
        return line is not None

    def swallow_answers(self, port: int) -> bool:
        """Swallow the answers on one line, known by its target's port, from now on; False when it has ended already."""
        line = self._lines.get(port)
        if line:
            line.swallows_answers = True
        return line is not None

    def swallow(self) -> None:
        """Swallow what the lines carry that are open now; new ones pass."""
        with self._lock:
            self._swallowed = self._numbers

    def passes(self, number: int) -> bool:
        """Wait for as long as all takes, and return whether it gets through on this line."""
        if self.slow_s:
            time.sleep(self.slow_s)
        return number > self._swallowed

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

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self.target) as server:
            with self._lock:
                self._numbers += 1
                line = _Line(self, self._numbers, client, server)
                self._lines[server.getsockname()[1]] = line
            try:
                line.carry()
            finally:
                with self._lock:
                    del self._lines[line.port]


class _Line:
    """One connection: the requests are passed on here, the answers in a thread."""

    def __init__(self, proxy: Proxy, number: int, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._number = number
        self._client = client
        self._server = server
        self.client_port: int = client.getpeername()[1]
        self.port: int = server.getsockname()[1]
        self.loses_next = False
        self.swallows_answers = False
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def carry(self) -> None:
        """Pass everything on, until one end hangs up."""
        answers = Thread(target=self._answers, daemon=True)
        answers.start()
        with contextlib.suppress(OSError):
            while octets := self._client.recv(_BLOCK):
                self.loses_next = self.loses_next or self._proxy.takes(octets)
                if self._proxy.cuts():
                    break
                if self._proxy.passes(self._number):
                    self._server.sendall(octets)
        _end(self._server)
        answers.join()

    def end(self) -> None:
        """Hang up, at both ends."""
        _end(self._client)
        _end(self._server)

    def _answers(self) -> None:
        try:
            while octets := self._server.recv(_BLOCK):
                if self.loses_next:
                    self._proxy.count()
                    break
                if self._proxy.passes(self._number) and not self.swallows_answers:
                    self._client.sendall(octets)
        except ConnectionResetError:
            # The client shall meet it as we did: closed without a FIN.
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RD)
            return
        except OSError:
            pass
        _end(self._client)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """Run a proxy before a port of the loopback interface as long as this lasts."""
    running = Proxy(port)
    running.open()
    try:
        yield running
    finally:
        running.close()
        running.hang_up()
