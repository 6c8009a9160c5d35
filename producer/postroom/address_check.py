"""Whether mail to an address has somewhere to go, as far as the DNS and a relay tell.

The answer is yes, no or unknown, never a guess. Nothing here is asked when a letter is handed in: it is for an
application's own forms and lists.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import product
from typing import Any, NoReturn

from postroom.address import Mailbox, ascii_domain, parse_mailbox
from postroom.clock import steady_s
from postroom.errors import PostroomError

try:
    import dns.exception
    import dns.name
    import dns.resolver
except ModuleNotFoundError:
    HAS_DNS = False
else:
    HAS_DNS = True


class DnspythonMissing(PostroomError, ImportError):
    """The extra ``postroom[dns]`` is not installed."""


class Answer(StrEnum):
    """What a check can say."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer, and what it rests on."""

    answer: Answer
    reason: str
    """For people."""
    hosts: tuple[str, ...] = ()
    """The mail hosts of the domain, the preferred first; empty where none were learned."""

    def __bool__(self) -> NoReturn:
        """Refuse to be one of two.

        Raises:
            TypeError: always. Two of the three answers would look the same.
        """
        raise TypeError("a verdict is yes, no or unknown: compare its .answer")


# --- DNS --------------------------------------------------------------------------------------------------------------


def check_domain(domain: str, *, resolver: dns.resolver.Resolver | None = None, timeout_s: float = 10.0) -> Verdict:
    """Return whether the DNS names a host that takes mail for `domain` (RFC 5321 §5.1).

    Yes: one of its MX hosts has an address; or it has no MX, but an address of its own. No: there is no such domain,
    or no such address, or its null MX says that it takes no mail (RFC 7505). Unknown: a question that matters was not
    answered.

    Args:
        domain: the domain of an address, in either form.
        resolver: whom to ask; by default the name servers that the system uses.
        timeout_s: seconds for all questions together.

    Raises:
        InvalidLetter: it is not the name of a domain.
        DnspythonMissing: the extra ``dns`` is not installed.
    """
    if not HAS_DNS:
        raise DnspythonMissing("the DNS cannot be asked without dnspython: pip install 'postroom[dns]'")
    host = ascii_domain(domain, "domain")
    name = dns.name.from_text(host)
    try:
        ask = partial(_ask, resolver or dns.resolver.Resolver(), steady_s() + timeout_s)
        exchanges = sorted((record.preference, record.exchange) for record in ask(name, "MX"))
    except dns.resolver.NXDOMAIN:
        return Verdict(Answer.NO, f"there is no domain {host}")
    except dns.exception.DNSException as error:
        return Verdict(Answer.UNKNOWN, f"the DNS did not answer about {host} ({type(error).__name__})")
    takers = [exchange for _, exchange in exchanges if exchange != dns.name.root]
    if exchanges and not takers:
        return Verdict(Answer.NO, f"{host} takes no mail: it has a null MX")
    return _reachable(host, takers or [name], ask)


def _reachable(domain: str, takers: Sequence[dns.name.Name], ask: Callable[[dns.name.Name, str], list[Any]]) -> Verdict:
    """Return yes if any of `takers` has an address, no if none has."""
    hosts = tuple(taker.to_text(omit_final_dot=True) for taker in takers)
    unanswered = ""
    for (taker, host), kind in product(zip(takers, hosts, strict=True), ("A", "AAAA")):
        try:
            if ask(taker, kind):
                return Verdict(Answer.YES, f"{host} takes mail for {domain}", hosts)
        except dns.resolver.NXDOMAIN:
            continue
        except dns.exception.DNSException as error:
            unanswered = f"the DNS did not answer about {host} ({type(error).__name__})"
    if unanswered:
        return Verdict(Answer.UNKNOWN, unanswered, hosts)
    return Verdict(Answer.NO, f"no host that takes mail for {domain} has an address", hosts)


def _ask(resolver: dns.resolver.Resolver, deadline_s: float, name: dns.name.Name, kind: str) -> list[Any]:
    """Return the records, none if the name has none of this kind."""
    left_s = deadline_s - steady_s()
    if left_s <= 0:
        raise dns.exception.Timeout
    try:
        return list(resolver.resolve(name, kind, lifetime=left_s, search=False))
    except dns.resolver.NoAnswer:
        return []


# --- VRFY -------------------------------------------------------------------------------------------------------------

# These say that it is the mailbox that is refused (RFC 3463 §3.2, §3.3; RFC 7505 §4.2), not the question or the asker.
_NO_SUCH_MAILBOX = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})([ -]|\Z)(.*)", re.DOTALL).fullmatch
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?!\S)").match
_REPLIES_LIMIT = 16_384
"""Octets of all replies together."""


def check_at_relay(
    address: str | tuple[str, str] | Mailbox, relay_host: str, port: int = 25, timeout_s: float = 10.0
) -> Verdict:
    """Return whether the relay knows the mailbox, as its answer to VRFY tells (RFC 5321 §3.5).

    Best effort: most relays answer 252, which is unknown. A no is believed only if the relay names the mailbox as its
    reason (such as 5.1.1), or if it says something else about the postmaster of the same domain, whom every domain has
    (RFC 5321 §4.5.1): some say no to every VRFY. The relay is spoken to in clear and without a password.

    Args:
        address: whom to ask about, in any form of `parse_mailbox`.
        relay_host: the relay's name or IP address. It is the caller's choice, never the address's.
        port: the relay's port.
        timeout_s: seconds for the conversation, and for connecting to each address of the relay; finding those is the
            system's and has its own.

    Raises:
        InvalidLetter: it is no address.
    """
    mailbox = parse_mailbox(address, "address")
    host = relay_host if relay_host.isascii() else ascii_domain(relay_host, "relay_host")
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            return _verify(mailbox, _Conversation(connection, steady_s() + timeout_s))
    except (OSError, UnicodeError, _Confused) as error:
        return Verdict(Answer.UNKNOWN, f"{relay_host} did not answer ({error})")


def _verify(mailbox: Mailbox, conversation: _Conversation) -> Verdict:
    if (greeting := conversation.hear()).code != 220:
        return Verdict(Answer.UNKNOWN, f"the relay does not serve us: {greeting}")
    offers_smtputf8 = conversation.introduce()
    if mailbox.needs_smtputf8 and not offers_smtputf8:
        return Verdict(Answer.UNKNOWN, "the relay does not offer SMTPUTF8, which this address needs")
    reply = conversation.verify(mailbox.address)
    answer = _meaning(reply)
    if answer is None:
        postmaster = conversation.verify(f"postmaster@{mailbox.domain}")
        answer = Answer.NO if postmaster.code in {250, 251, 252} else Answer.UNKNOWN
    conversation.end()
    return Verdict(answer, f"the relay says {reply}")


def _meaning(reply: _Reply) -> Answer | None:
    """Return what the reply says of the mailbox; None for a no that may be said to everybody."""
    if reply.code in {250, 251}:
        return Answer.YES
    if reply.code not in {550, 551, 553} or "ambiguous" in reply.text.lower():
        return Answer.UNKNOWN
    if reply.enhanced in {"", "5.1.0"}:
        return None
    return Answer.NO if reply.enhanced in _NO_SUCH_MAILBOX else Answer.UNKNOWN


class _Confused(Exception):
    """What the relay says is no SMTP, or out of step."""


@dataclass(frozen=True, slots=True)
class _Reply:
    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463), empty if there is none."""
        found = _ENHANCED(self.text)
        return found[0] if found else ""

    def __str__(self) -> str:
        """Return it as people may see it: short, controls written out."""
        return f"{self.code} {self.text[:200]!r}"


@dataclass(slots=True)
class _Conversation:
    """Commands and replies in turn, within a deadline and a bound on what is read."""

    connection: socket.socket
    deadline_s: float
    unread: bytes = b""
    received: int = 0

    def introduce(self) -> bool:
        """Say EHLO, or HELO where that is not understood; return whether SMTPUTF8 is offered."""
        own = ipaddress.ip_address(self.connection.getsockname()[0].partition("%")[0])
        literal = f"[{own}]" if own.version == 4 else f"[IPv6:{own}]"
        reply = self.ask(f"EHLO {literal}")
        if reply.code != 250:
            reply = self.ask(f"HELO {literal}")
        if reply.code != 250:
            raise _Confused(f"it does not greet back: {reply}")
        return "SMTPUTF8" in reply.text.upper().split("\n")

    def verify(self, address: str) -> _Reply:
        return self.ask(f"VRFY {address}" if address.isascii() else f"VRFY {address} SMTPUTF8")

    def end(self) -> None:
        """Say QUIT. An answer that belongs to another command shows that all before were out of step too."""
        try:
            reply = self.ask("QUIT")
        except (OSError, _Confused):
            return
        if reply.code not in {221, 421}:
            raise _Confused("its replies are out of step")

    def ask(self, command: str) -> _Reply:
        self._set_timeout()
        self.connection.sendall(f"{command}\r\n".encode())
        return self.hear()

    def hear(self) -> _Reply:
        """Return the next reply, its lines joined by line feeds."""
        codes: set[bytes] = set()
        lines: list[bytes] = []
        while True:
            line = _REPLY_LINE(self._line())
            if line is None or (codes and line[1] not in codes):
                raise _Confused("its reply is malformed")
            codes.add(line[1])
            lines.append(line[3])
            if line[2] == b"-":
                continue
            if self.unread:
                raise _Confused("it says more than it was asked")
            return _Reply(int(line[1]), b"\n".join(lines).decode(errors="backslashreplace"))

    def _line(self) -> bytes:
        while b"\n" not in self.unread:
            self._set_timeout()
            octets = self.connection.recv(4096)
            if not octets:
                raise _Confused("it hung up")
            self.received += len(octets)
            if self.received > _REPLIES_LIMIT:
                raise _Confused("it does not stop talking")
            self.unread += octets
        line, _, self.unread = self.unread.partition(b"\n")
        return line.removesuffix(b"\r")

    def _set_timeout(self) -> None:
        left_s = self.deadline_s - steady_s()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.connection.settimeout(left_s)
