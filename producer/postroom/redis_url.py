"""URLs of several servers, with a comma between them: ``redis+cluster://`` and ``sentinel://``."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from postroom.errors import InvalidSettings

CLUSTER = ("redis+cluster://", "rediss+cluster://")
SENTINEL = "sentinel://"
_PORTS = {SENTINEL: 26379}
_PORT = 6379


@dataclass(frozen=True, slots=True)
class Servers:
    """Where several servers are, and what they want to know of us."""

    addresses: tuple[tuple[str, int], ...]
    """Hosts and ports: of some nodes of the cluster, or of the Sentinels."""
    database: int = 0
    is_tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """What follows ``?``."""


def is_cluster(url: str) -> bool:
    """True for the URL of a Redis Cluster."""
    return url.startswith(CLUSTER)


def is_sentinel(url: str) -> bool:
    """True for the URL of Sentinels."""
    return url.startswith(SENTINEL)


def read_servers(url: str, variable: str) -> Servers:
    """Read ``scheme://user:password@host:port,host:port/database?option=value``.

    Args:
        url: one that `is_cluster` or `is_sentinel` holds of.
        variable: where it was given, for the error.

    Raises:
        InvalidSettings: it cannot be read; the message never has the URL.
    """
    try:
        parts = urlsplit(url)
        user, _, hosts = parts.netloc.rpartition("@")
        username, _, password = user.partition(":")
        port = _PORTS.get(f"{parts.scheme}://", _PORT)
        addresses = tuple(_address(host, port) for host in hosts.split(","))
        return Servers(
            addresses=addresses,
            database=int(parts.path.strip("/") or "0"),
            is_tls=parts.scheme.startswith("rediss"),
            username=unquote(username),
            password=unquote(password),
            options=dict(parse_qsl(parts.query)),
        )
    except ValueError:
        raise InvalidSettings(
            f"{variable} has to be like redis+cluster://user:password@host:port,host:port "
            "or sentinel://user:password@host:port,host:port/0?master=name"
        ) from None


def primary_name(servers: Servers, variable: str) -> str:
    """Return which primary Sentinels are asked for.

    Raises:
        InvalidSettings: the URL does not tell.
    """
    name = servers.options.get("master")
    if not name:
        raise InvalidSettings(f"{variable} names Sentinels: it has to end in ?master= and the primary's name")
    return name


def _address(text: str, port: int) -> tuple[str, int]:
    found = urlsplit(f"//{text}")
    if not found.hostname:
        raise ValueError("no host")
    return found.hostname, found.port or port
