"""A relay: an SMTP server, or a local program, that we submit letters to; where it is, and what it may be asked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from postroom.address import ascii_domain
from postroom.errors import InvalidSettings


class Security(StrEnum):
    """How a session is protected."""

    TLS = "tls"
    """TLS from the first octet (RFC 8314 §3.3)."""
    STARTTLS = "starttls"
    """TLS before anything else is said (RFC 3207); a relay that does not offer it gets nothing."""
    NONE = "none"


EHLO_NAME: Final = re.compile(r"[0-9A-Za-z._-]{1,255}|\[[0-9A-Za-z.:]{1,80}\]")
"""What we may call ourselves: a host name, or an address in brackets (RFC 5321 §4.1.4)."""
PROGRAM_ARGUMENTS: Final = ("-i",)
"""What a program is told unless its relay says otherwise: a line of a single dot ends nothing."""
_HOST = re.compile(r"[0-9A-Za-z._-]*|[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?")
_SCHEMES = {
    "smtp": (Security.STARTTLS, 25),
    "smtp+starttls": (Security.STARTTLS, 587),
    "smtps": (Security.TLS, 465),
    "smtp+plain": (Security.NONE, 25),
}
_PROGRAM_SCHEME = "sendmail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once, and how fast; 0 sets no limit."""

    connections: int = 0
    """Sessions open at the same time, of all workers together."""
    connections_per_s: float = 0.0
    """Sessions begun in a second."""
    letters_per_s: float = 0.0
    """Letters handed over in a second."""
    letters_per_connection: int = 0
    """Letters after which a session is closed."""
    recipients_per_transaction: int = 0
    """Recipients named at once; the others go in transactions of their own."""


_NO_LIMITS = Limits()
_EVERY_DOMAIN = "*"


@dataclass(frozen=True, slots=True)
class Relay:
    """Where and how to submit letters, and which."""

    name: str
    host: str
    port: int
    security: Security
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = ""
    """``package.module:function``, which is called with the user and returns an access token (OAuth 2.0)."""
    program: tuple[str, ...] = ()
    """A local program in place of a host: its path, and the arguments that stand before ours; empty for SMTP."""
    limits: Limits = _NO_LIMITS
    domains: Mapping[str, Limits] = field(default_factory=dict, hash=False)
    """Limits by the domain of the recipients, in lower case and A-labels; ``*`` for every domain not named."""
    senders: tuple[str, ...] = ()
    """The domains of senders that it serves, in lower case and A-labels; empty: all."""
    tags: tuple[str, ...] = ()
    """It serves letters that have one of these tags; empty: all."""
    ca_file: str = ""
    """As POSTROOM_CA_FILE, which is for relays that have none of their own."""
    certificate: str = ""
    """As POSTROOM_CERTIFICATE."""
    ehlo_name: str = ""
    """As POSTROOM_EHLO_NAME."""

    @classmethod
    def from_url(cls, url: str, name: str = "default", *, password: str = "", token: str = "") -> Relay:
        """Return the relay that a URL describes.

        Args:
            url: ``smtp://`` (STARTTLS required, but on loopback none), ``smtp+starttls://``, ``smtps://``, or
                ``smtp+plain://`` (no TLS); then ``user:password@host:port``, special characters percent-encoded. Or
                ``sendmail://`` and the absolute path of a program.
            name: what the ledger and the operator call it.
            password: the user's, when it is not in the URL.
            token: in place of a password, what gives access tokens: `Relay.token`.

        Raises:
            InvalidSettings: it is no such URL. The message never shows it: it may hold a password.
        """
        try:
            parts = urlsplit(url.strip())
            port = parts.port
            host = _host(parts.hostname or "")
        except ValueError:
            raise InvalidSettings(f"the URL of relay {name} has a bad host or port") from None
        user, secret = _credentials(parts, name, password, token)
        if parts.scheme == _PROGRAM_SCHEME:
            return cls(name, "", 0, Security.NONE, program=(_program(parts, name), *PROGRAM_ARGUMENTS))
        if parts.scheme not in _SCHEMES:
            schemes = ", ".join(f"{scheme}://" for scheme in (*_SCHEMES, _PROGRAM_SCHEME))
            raise InvalidSettings(f"the URL of relay {name} has to begin with one of {schemes}")
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise InvalidSettings(
                f"the URL of relay {name} has to be scheme://user:password@host:port, percent-encoded"
            )
        security, default_port = _SCHEMES[parts.scheme]
        if parts.scheme == "smtp" and _is_loopback(host):
            security = Security.NONE
        if user and security is Security.NONE and not _is_loopback(host):
            raise InvalidSettings(
                f"relay {name} would get its password, or token, in the clear: use smtp+starttls:// or smtps://"
            )
        return cls(name, host, default_port if port is None else port, security, user, secret, token)

    def limits_for(self, domain: str) -> Limits:
        """Return the limits for recipients at one domain, which is in lower case and A-labels."""
        return self.domains.get(domain) or self.domains.get(_EVERY_DOMAIN) or _NO_LIMITS

    def __str__(self) -> str:
        if self.program:
            return f"{self.name} ({self.program[0]})"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name} ({host}:{self.port}, {self.security})"


def _host(host: str) -> str:
    """The host in ASCII: left to itself, Python would take faß.de for fass.de (IDNA 2003).

    Raises:
        ValueError: it is none.
    """
    found = host if host.isascii() else ascii_domain(host, "host")
    if not _HOST.fullmatch(found):
        raise ValueError(host)
    found.encode("idna")  # the resolver does so, and raises where nobody expects it: a label is empty, or too long
    return found


def _credentials(parts: SplitResult, name: str, password: str, token: str) -> tuple[str, str]:
    try:
        user, in_url = (unquote(each or "", errors="strict") for each in (parts.username, parts.password))
    except UnicodeDecodeError:
        raise InvalidSettings(f"the credentials of relay {name} have to be UTF-8, percent-encoded") from None
    given = [each for each in (in_url, password, token) if each]
    if len(given) > 1:
        raise InvalidSettings(f"relay {name} has more than one password or token: give one, in its URL or beside it")
    if bool(user) != bool(given):
        raise InvalidSettings(f"relay {name} has to have both a user, in its URL, and a password or token; or neither")
    if any("\0" in each for each in (user, in_url, password)):
        raise InvalidSettings(f"the credentials of relay {name} must not hold NUL")
    return user, in_url or password


def _program(parts: SplitResult, name: str) -> str:
    path = unquote(parts.path)
    is_path = path.startswith("/") and not path.endswith("/") and path.isprintable()
    if parts.netloc or parts.query or parts.fragment or not is_path:
        raise InvalidSettings(f"the URL of relay {name} has to be sendmail:// and the absolute path of a program")
    return path


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
