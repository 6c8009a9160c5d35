"""A relay of the chaos run: polite but for what the script of faults says, with an account of its own.

It refuses for good whoever is named ``refused…``, and defers once whoever is named ``grey…``. Every other recipient it
takes; the account is written the moment it decides to answer 250, whether or not that answer arrives. By turns its
sessions offer no extension that matters, PIPELINING, and CHUNKING too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from postroom_worker.dev.chaos.proxy import Proxy, proxy
from postroom_worker.dev.scripted_relay import OFFERS, ScriptedRelay, Session, running

Answer = Callable[[], None]
Disturb = Callable[[Session, str, Answer], None]
"""Called at each step of each session: calls the answer, or does something worse."""

MANNERS = {
    "plain": tuple(each for each in OFFERS if each != "PIPELINING"),
    "pipelined": OFFERS,
    "in chunks": (*OFFERS, "CHUNKING"),
}
"""What a session offers, by how letters then go through it."""
_TARPIT_S = 0.1


@dataclass(slots=True)
class Relay(ScriptedRelay):
    """The relay, and its account."""

    disturb: Disturb = lambda _session, _step, answer: answer()
    begun: int = 0
    """Transactions begun: the steps by which the script of faults counts."""
    refused: set[str] = field(default_factory=set)
    """The addresses that it refused for good."""
    greylisted: int = 0
    """How many recipients it deferred."""
    tarpits: set[int] = field(default_factory=set)
    """The sessions in which every answer takes its time."""
    before: Proxy = field(init=False)
    """All sessions come through it."""
    _named: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    @property
    def account(self) -> Counter[tuple[str, str]]:
        """How often it accepted each recipient, by the letter's id (as its Message-ID has it) and address."""
        return Counter((letter_id(each.message), address) for each in self.taken for address in each.recipients)

    @property
    def manners(self) -> Counter[str]:
        """How many letters it took in each manner of sessions."""
        return Counter(manner(each.session) for each in self.taken)

    def offers_to(self, session: int) -> Sequence[str]:
        """Return what a session offers."""
        return MANNERS[manner(session)]

    def react(self, session: Session, name: str, times: int, polite: bytes) -> None:
        """Answer as always, unless a fault is due."""
        if name == "mail":
            with self._lock:
                self.begun += 1
        if session.number in self.tarpits:
            self.stopping.wait(_TARPIT_S)
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
                self.greylisted += 1
                return b"451 4.7.1 greylisted, come back later"
        return b""


def manner(session: int) -> str:
    """Return how letters go through a session."""
    return list(MANNERS)[session % len(MANNERS)]


def letter_id(message: bytes) -> str:
    """Return the id of the letter that a message is."""
    _, _, rest = message.partition(b"\r\nMessage-ID: <")
    return rest.partition(b"@")[0].decode("ascii")


@contextmanager
def relay() -> Iterator[Relay]:
    """Run a relay, with a proxy before it, as long as this lasts."""
    with running(lambda port: Relay(port, scripts=({"body": lambda _session: None},))) as made, proxy(made.port) as by:
        made.before = by
        yield made
