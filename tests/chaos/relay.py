"""The chaos run's relay: polite but for what the script of faults says, with an account of its own.

It refuses for good whoever is named ``refused…``, and defers once whoever is named ``grey…``. Every other recipient it
takes; the account is written the moment it decides to answer 250, whether or not that answer arrives.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, Thread

from postroom_worker.dev.server import free_port
from scripted_relay import Gone, ScriptedRelay, Session

Answer = Callable[[], None]
Disturb = Callable[[Session, str, Answer], None]
"""Called at each step of each session: calls the answer, or does something worse."""


@dataclass(slots=True)
class Relay(ScriptedRelay):
    """The relay, and its account."""

    disturb: Disturb = lambda _session, _step, answer: answer()
    begun: int = 0
    """Transactions begun: the steps by which the script of faults counts."""
    refused: set[str] = field(default_factory=set)
    """The addresses that it refused for good."""
    _named: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)
    _listener: socket.socket | None = None

    @property
    def account(self) -> Counter[tuple[str, str]]:
        """How often it accepted each recipient, by the letter's id (as its Message-ID has it) and address."""
        return Counter((_letter_id(each.message), address) for each in self.taken for address in each.recipients)

    def open(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on; the sessions that are there go on."""
        assert self._listener
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hang_up(self) -> None:
        """End all sessions."""
        for session in self.sessions:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)

    def react(self, session: Session, name: str, times: int, polite: bytes) -> None:
        """Answer as always, unless a fault is due."""
        if name == "mail":
            with self._lock:
                self.begun += 1
        self.disturb(session, name, lambda: self._answer(session, name, polite))

    def _answer(self, session: Session, name: str, polite: bytes) -> None:
        if name == "body":
            return
        if name == "rcpt" and polite.startswith(b"2"):
            polite = self._about(session.commands[-1].partition("<")[2].rpartition(">")[0]) or polite
        session.write(polite + b"\r\n")

    def _about(self, address: str) -> bytes:
        with self._lock:
            self._named[address] += 1
            if address.startswith("refused"):
                self.refused.add(address)
                return b"550 5.1.1 no such mailbox here"
            if address.startswith("grey") and self._named[address] == 1:
                return b"451 4.7.1 greylisted, come back later"
        return b""

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                session = Session(len(self.sessions), sock, self)
                self.sessions.append(session)
            Thread(target=_serve, args=(session,), daemon=True).start()


@contextmanager
def relay() -> Iterator[Relay]:
    """Run the relay as long as this lasts."""
    running = Relay(free_port(), scripts=({"body": lambda _session: None},))
    running.open()
    try:
        yield running
    finally:
        running.stopping.set()
        running.close()
        running.hang_up()


def _serve(session: Session) -> None:
    with session.sock, contextlib.suppress(Gone):
        session.serve()


def _letter_id(message: bytes) -> str:
    _, _, rest = message.partition(b"\r\nMessage-ID: <")
    return rest.partition(b"@")[0].decode("ascii")
