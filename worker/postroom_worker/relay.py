"""A relay: an SMTP server that we submit to, as its URL describes it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
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


_HOST = re.compile(r"[0-9A-Za-z._-]*|[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?")
_SCHEMES = {
    "smtp": (Security.STARTTLS, 25),
    "smtp+starttls": (Security.STARTTLS, 587),
    "smtps": (Security.TLS, 465),
    "smtp+plain": (Security.NONE, 25),
}


@dataclass(frozen=True, slots=True)
class Relay:
    """Where and how to submit letters."""

    name: str
    host: str
    port: int
    security: Security
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str, name: str = "default") -> Relay:
        """Return the relay that a URL describes.

        Args:
            url: ``smtp://`` (STARTTLS required, but on loopback none), ``smtp+starttls://``, ``smtps://``, or
                ``smtp+plain://`` (no TLS); then ``user:password@host:port``, special characters percent-encoded.
            name: what the ledger and the operator call it.

        Raises:
            InvalidSettings: it is no such URL. The message never shows it: it may hold a password.
        """
        try:
            parts = urlsplit(url.strip())
            port = parts.port
            host = _host(parts.hostname or "")
        except ValueError:
            raise InvalidSettings(f"the URL of relay {name} has a bad host or port") from None
        if parts.scheme not in _SCHEMES:
            raise InvalidSettings(f"the URL of relay {name} has to begin with {', '.join(f'{s}://' for s in _SCHEMES)}")
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise InvalidSettings(
                f"the URL of relay {name} has to be scheme://user:password@host:port, percent-encoded"
            )
        security, default_port = _SCHEMES[parts.scheme]
        if parts.scheme == "smtp" and _is_loopback(host):
            security = Security.NONE
        user, password = _credentials(parts, name)
        if user and security is Security.NONE and not _is_loopback(host):
            raise InvalidSettings(f"relay {name} would get its password in the clear: use smtp+starttls:// or smtps://")
        return cls(name, host, default_port if port is None else port, security, user, password)

    def __str__(self) -> str:
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
    return found


def _credentials(parts: SplitResult, name: str) -> tuple[str, str]:
    try:
        user, password = (unquote(each or "", errors="strict") for each in (parts.username, parts.password))
    except UnicodeDecodeError:
        raise InvalidSettings(f"the credentials of relay {name} have to be UTF-8, percent-encoded") from None
    if bool(user) != bool(password):
        raise InvalidSettings(f"the URL of relay {name} has to hold both user and password, or neither")
    if "\0" in user + password:
        raise InvalidSettings(f"the credentials of relay {name} must not hold NUL")
    return user, password


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
