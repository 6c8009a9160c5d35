"""A relay that does at every step what a script tells it to, and keeps an account of its own.

A script says what happens when a step is reached; steps it does not name go as in a polite relay:

    {"mail": say("421 4.3.2 bye"), "rcpt": [say("250 ok"), say("451 4.7.1 later")], "content": reset}

Steps: ``connect``, ``ehlo``, ``helo``, ``starttls``, ``auth``, ``mail``, ``rcpt``, ``data``, ``unread`` (BDAT has come,
and its chunk is taken for commands), ``bdat`` (a chunk has come that is not the last), ``body`` (the first octets of
the content after DATA have come), ``content`` (its end has come, or the last chunk), ``rset``, ``noop``, ``quit``. Of a
list, the first reaction is for the first time that a session reaches the step, and so on; the last one goes on for
ever.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TypeVar

Reaction = Callable[["Session"], None]
Script = Mapping[str, "Reaction | Sequence[Reaction]"]

OFFERS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_POLITE = {
    "connect": "220 relay.example.org ESMTP",
    "helo": "250 relay.example.org",
    "starttls": "220 2.0.0 go ahead",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "content": "250 2.0.0 taken",
    "rset": "250 2.0.0 ok",
    "noop": "250 2.0.0 ok",
    "quit": "221 2.0.0 bye",
}


R = TypeVar("R", bound="ScriptedRelay")


class Gone(Exception):
    """The client hung up, or the relay is being stopped."""


@dataclass(slots=True)
class Taken:
    """A letter that the relay answered 2yz for."""

    mail: str
    """The MAIL command."""
    recipients: list[str]
    """The addresses that it accepted."""
    content: bytes
    """With its dots as they came over the wire, without the end."""
    session: int
    is_stuffed: bool

    @property
    def message(self) -> bytes:
        """The content, unstuffed."""
        if not self.is_stuffed:
            return self.content
        return (b"\r\n" + self.content).replace(b"\r\n..", b"\r\n.")[2:]


@dataclass(slots=True)
class Session:
    """One connection, seen from the relay."""

    number: int
    sock: socket.socket
    relay: ScriptedRelay
    commands: list[str] = field(default_factory=list)
    is_encrypted: bool = False
    is_waiting: bool = False
    """True while the test keeps the client waiting."""
    ended: str = ""
    """How: ``quit``, ``hung up`` (by the client), or ``closed`` (by us)."""
    _buffer: bytearray = field(default_factory=bytearray)
    _steps: Counter[str] = field(default_factory=Counter)
    _mail: str = ""
    _recipients: list[str] = field(default_factory=list)
    _content: bytes | None = None
    """Complete, and not answered yet."""
    _chunks: bytearray | None = None
    """What came with BDAT so far; None when none came, or one was not taken."""
    _said: str = ""
    _held: bytearray = field(default_factory=bytearray)
    """Said, and not sent yet."""

    @property
    def recipients(self) -> list[str]:
        """The recipients that were accepted in this transaction so far."""
        return self._recipients

    @property
    def has_content(self) -> bool:
        """True while a whole content was not answered yet."""
        return self._content is not None

    @property
    def content(self) -> bytes:
        """The whole content that was not answered yet; nothing when there is none."""
        return self._content or b""

    def is_for(self, address: str) -> bool:
        """True when the letter in hand is for this recipient."""
        return address in self._recipients

    def write(self, octets: bytes) -> None:
        """Send octets, one at a time if the relay splits its replies."""
        if len(octets) > 1:
            self.say(octets)
        if octets.startswith(b"2"):
            # Before the reply is on the way: whoever reads it finds the account in order.
            self.take()
        self._held += octets
        if not self.relay.holds:
            self.flush()

    def say(self, reply: bytes) -> None:
        """Take note of the code of what is said, in however many writes."""
        if reply[:3].isdigit():
            self._said = reply[:3].decode("ascii")

    def drop_held(self) -> None:
        """Forget what was said and is held."""
        self._held.clear()

    def flush(self) -> None:
        """Send what was said and is held."""
        octets, self._held = bytes(self._held), bytearray()
        pieces = [octets[place : place + 1] for place in range(len(octets))] if self.relay.splits else [octets]
        for piece in pieces:
            try:
                self.sock.sendall(piece)
            except OSError as error:
                raise Gone from error

    def take(self) -> None:
        """Put the content, if there is one that was not answered yet, into the account."""
        if self._content is not None:
            self.relay.taken.append(
                Taken(self._mail, self._recipients, self._content, self.number, self._chunks is None)
            )
            self._content = None

    def read(self) -> bytes:
        """Read what comes."""
        self.flush()
        try:
            octets = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not octets:
            raise Gone
        return octets

    def read_line(self) -> str:
        """Read a command."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._buffer += self.read()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line.decode("utf-8", "surrogateescape")

    def step(self, name: str, reply: str = "") -> str:
        """Do what the script says of a step; return the code of what was said."""
        self._said = ""
        polite = (reply or _POLITE.get(name, "")).encode()
        self.relay.react(self, name, self._steps[name], polite)
        self._steps[name] += 1
        return self._said

    def serve(self) -> None:
        """Serve until one of both ends it."""
        if self.relay.tls and self.relay.is_tls_implicit:
            self._encrypt()
        self.step("connect")
        while self.ended != "quit":
            line = self.read_line()
            self.commands.append(line)
            verb = line.partition(" ")[0].upper()
            if verb in ("MAIL", "RCPT", "DATA", "BDAT", "RSET"):
                self._serve_transaction(verb, line)
            else:
                self._serve_session(verb, line)

    def _serve_session(self, verb: str, line: str) -> None:
        match verb:
            case "EHLO":
                self.step("ehlo", self._greeting())
            case "HELO" | "NOOP":
                self.step(verb.lower())
            case "STARTTLS":
                if self.step("starttls") == "220":
                    self._encrypt()
            case "AUTH":
                self._authenticate(line)
            case "QUIT":
                self.ended = "quit"
                self.step("quit")
                self.flush()
            case _:
                self.write(b"500 5.5.2 what?\r\n")

    def _serve_transaction(self, verb: str, line: str) -> None:
        match verb:
            case "MAIL":
                if self._mail:
                    self.write(b"503 5.5.1 one at a time\r\n")
                elif self.step("mail").startswith("2"):
                    self._mail = line
            case "RCPT":
                if self.step("rcpt", "" if self._mail else "503 5.5.1 MAIL first").startswith("2"):
                    self._recipients.append(line[line.index("<") + 1 : line.rindex(">")])
            case "DATA":
                self._data()
            case "BDAT":
                self._bdat(int(line.split()[1]), is_last=line.upper().endswith(" LAST"))
            case "RSET":
                self._clear()
                self.step("rset")

    def _greeting(self) -> str:
        offers = [each for each in self.relay.offers_to(self.number) if not (each == "STARTTLS" and self.is_encrypted)]
        lines = ["relay.example.org", *offers]
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _data(self) -> None:
        polite = "354 go ahead" if self._recipients else "554 5.5.1 no valid recipients"
        if self.step("data", polite) != "354":
            return
        if "body" in self.relay.script_of(self.number):
            self._buffer += self.read()
            self.step("body")
        self._buffer[:0], searched = b"\r\n", 0
        while (end := self._buffer.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 4)
            self._buffer += self.read()
        self._content = bytes(self._buffer[2 : end + 2])
        del self._buffer[: end + 5]
        self.step("content")
        self._clear()

    def _bdat(self, size: int, *, is_last: bool) -> None:
        if "unread" in self.relay.script_of(self.number):
            self.step("unread")
            return
        while len(self._buffer) < size:
            self._buffer += self.read()
        chunk = self._buffer[:size]
        del self._buffer[:size]
        if not self._recipients:
            self.write(b"503 5.5.1 no valid recipients\r\n")
            return
        self._chunks = (self._chunks or bytearray()) + chunk
        if is_last:
            self._content = bytes(self._chunks)
            self.step("content")
            self._clear()
        elif not self.step("bdat", f"250 2.0.0 {size} octets").startswith("2"):
            # The transaction has failed; what comes before RSET is not taken (RFC 3030 §2).
            self._recipients = []

    def _clear(self) -> None:
        self._mail, self._recipients, self._content, self._chunks = "", [], None, None

    def _encrypt(self) -> None:
        self._buffer.clear()
        assert self.relay.tls
        try:
            self.sock = self.relay.tls.wrap_socket(self.sock, server_side=True)
        except OSError as error:
            raise Gone from error
        self.is_encrypted = True

    def _authenticate(self, line: str) -> None:
        if "auth" in self.relay.script_of(self.number):
            self.step("auth")
            return
        mechanism, _, initial = line.removeprefix("AUTH ").partition(" ")
        user, password = self.relay.credentials
        match mechanism:
            case "PLAIN":
                is_right = base64.b64decode(initial) == f"\0{user}\0{password}".encode()
            case "LOGIN":
                answers = [self._ask("VXNlcm5hbWU6"), self._ask("UGFzc3dvcmQ6")]
                is_right = answers == [user.encode(), password.encode()]
            case "CRAM-MD5":
                answer = self._ask(base64.b64encode(b"<1@relay>").decode())
                is_right = answer == f"{user} {hmac.new(password.encode(), b'<1@relay>', 'md5').hexdigest()}".encode()
            case _:
                self.write(b"504 5.5.4 no such mechanism\r\n")
                return
        self.write(b"235 2.7.0 welcome\r\n" if is_right else b"535 5.7.8 wrong credentials\r\n")

    def _ask(self, challenge: str) -> bytes:
        self.write(f"334 {challenge}\r\n".encode())
        return base64.b64decode(self.read_line())


@dataclass(slots=True)
class ScriptedRelay:
    """The relay, and its account."""

    port: int
    scripts: Sequence[Script]
    """By session: the last one goes on for ever."""
    offers: Sequence[str] = OFFERS
    splits: bool = False
    """Send every reply octet by octet."""
    holds: bool = False
    """Hold replies back until nothing is left to read, as a relay may that is spoken to in groups (RFC 2920 §3.2)."""
    credentials: tuple[str, str] = ("", "")
    tls: ssl.SSLContext | None = None
    is_tls_implicit: bool = False
    sessions: list[Session] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    stopping: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def commands(self) -> list[str]:
        """All commands of all sessions."""
        return [command for session in self.sessions for command in session.commands]

    @property
    def verbs(self) -> list[str]:
        """The first word of each command, in capitals."""
        return [command.partition(" ")[0].upper() for command in self.commands]

    @property
    def accepted(self) -> Counter[str]:
        """How often each recipient was accepted with its content."""
        return Counter(address for each in self.taken for address in each.recipients)

    def use_tls(self, *, implicit: bool = False) -> ssl.SSLContext:
        """Encrypt from now on; the context returned needs a certificate."""
        self.tls, self.is_tls_implicit = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), implicit
        return self.tls

    def script_of(self, session: int) -> Script:
        """Return the script of a session."""
        return self.scripts[min(session, len(self.scripts) - 1)]

    def offers_to(self, session: int) -> Sequence[str]:
        """Return the extensions that it names in a session."""
        return self.offers

    def react(self, session: Session, name: str, times: int, polite: bytes) -> None:
        """Do at a step, reached so many times before, what the script says; else give the polite reply."""
        reactions = self.script_of(session.number).get(name)
        if reactions is None:
            session.write(polite + b"\r\n")
        elif callable(reactions):
            reactions(session)
        else:
            reactions[min(times, len(reactions) - 1)](session)

    def accept_sessions(self, listener: socket.socket) -> None:
        """Serve whoever connects, each in a thread."""
        threads = []
        while True:
            sock, _ = listener.accept()
            if self.stopping.is_set():
                sock.close()
                break
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(len(self.sessions), sock, self)
            self.sessions.append(session)
            threads.append(Thread(target=_serve, args=(session,), daemon=True))
            threads[-1].start()
        for session in self.sessions:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _serve(session: Session) -> None:
    try:
        session.serve()
    except Gone:
        session.ended = session.ended or "hung up"
    finally:
        with contextlib.suppress(OSError):
            session.sock.close()


@contextmanager
def scripted_relay(
    *scripts: Script,
    offers: Sequence[str] = OFFERS,
    splits: bool = False,
    holds: bool = False,
    credentials: tuple[str, str] = ("", ""),
) -> Iterator[ScriptedRelay]:
    """Run a relay as long as this lasts.

    Args:
        scripts: what it does, by session; the last one is that of all further sessions.
        offers: the extensions it names.
        splits: send every reply octet by octet.
        holds: hold replies back until nothing is left to read.
        credentials: the user and password that it knows.
    """
    with running(lambda port: ScriptedRelay(port, scripts or ({},), offers, splits, holds, credentials)) as relay:
        yield relay


@contextmanager
def running(make: Callable[[int], R]) -> Iterator[R]:
    """Run a relay that is made for a port as long as this lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Small buffers, so that a client soon notices when nobody reads.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        port = listener.getsockname()[1]
        relay = make(port)
        thread = Thread(target=relay.accept_sessions, args=(listener,), daemon=True)
        thread.start()
        try:
            yield relay
        finally:
            relay.stopping.set()
            socket.create_connection(("127.0.0.1", port)).close()  # wakes it
            thread.join()


def say(text: str | bytes) -> Reaction:
    """Send a reply; its end of line is added."""
    octets = text.encode() if isinstance(text, str) else text
    return lambda session: session.write(octets + b"\r\n")


def octets(raw: bytes) -> Reaction:
    """Send octets as they are."""
    return lambda session: session.write(raw)


def close(session: Session) -> None:
    """Hang up."""
    session.ended = "closed"
    session.flush()
    raise Gone


def reset(session: Session) -> None:
    """Hang up as a crashed machine does: the client gets a RST, and what it was not told yet is lost."""
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    session.drop_held()
    close(session)


def silent(session: Session) -> None:
    """Say nothing until the client hangs up."""
    while True:
        session.read()


def deaf(session: Session) -> None:
    """Neither read nor say anything more."""
    session.relay.stopping.wait()
    raise Gone


def drip(text: str, every_s: float) -> Reaction:
    """Send a reply an octet at a time, with pauses."""

    def react(session: Session) -> None:
        session.say(text.encode())
        for octet in text.encode():
            session.write(bytes([octet]))
            if session.relay.stopping.wait(every_s):
                raise Gone

    return react


def sip(every_s: float) -> Reaction:
    """Read an octet at a time, with pauses, until the client hangs up."""

    def react(session: Session) -> None:
        while not session.relay.stopping.wait(every_s):
            if not session.sock.recv(1):
                break
        raise Gone

    return react


def endless(raw: bytes) -> Reaction:
    """Send the same octets for ever."""

    def react(session: Session) -> None:
        while not session.relay.stopping.is_set():
            session.write(raw)

    return react


def wait_for(event: Event) -> Reaction:
    """Wait until the test says so."""

    def react(session: Session) -> None:
        session.is_waiting = True
        while not event.wait(0.05):
            if session.relay.stopping.is_set():
                raise Gone
        session.is_waiting = False

    return react


def only_to(address: str, reaction: Reaction) -> Reaction:
    """React so to the RCPT of one recipient; the others are accepted."""

    def react(session: Session) -> None:
        if f"<{address}>" in session.commands[-1]:
            reaction(session)
        else:
            say("250 2.1.5 ok")(session)

    return react


def both(*reactions: Reaction) -> Reaction:
    """One after the other."""

    def react(session: Session) -> None:
        for each in reactions:
            each(session)

    return react
