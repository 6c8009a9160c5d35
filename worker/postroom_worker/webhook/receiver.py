"""The receivers of webhooks: where they are posted, over HTTP/1.1.

One may be slow, or hostile. It gets so many seconds, all in all. Of its answer the status is read, and no body. A
redirect is not followed: it would lead a request of ours, from inside our network, to where a stranger says.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from postroom.errors import InvalidSettings
from postroom.ledger.webhooks import Webhook
from postroom.settings import Settings
from postroom.states import LetterState
from postroom.version import __version__
from postroom_worker.smtp.within import within
from postroom_worker.webhook.notice import headers, secrets_of

_PORTS: Final = {"http": 80, "https": 443}
_STATES: Final = frozenset(LetterState) - {LetterState.SCHEDULED, LetterState.QUEUED, LetterState.SENDING}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where webhooks are posted, and how they are signed."""

    host: str
    port: int
    path: str = field(repr=False)
    """With the query; either may be a secret."""
    secrets: tuple[bytes, ...] = field(repr=False)
    states: frozenset[LetterState]
    """Those that are told of."""
    timeout_s: float
    tls: ssl.SSLContext | None
    place: int = 0
    """In the list of the settings; what waits for it is found by that."""

    @classmethod
    def all_of(cls, settings: Settings) -> tuple[Receiver, ...]:
        """Return the receivers that the settings describe, in order.

        Raises:
            InvalidSettings: they cannot be read. The message shows no secret.
        """
        return tuple(cls._of(settings, url, place) for place, url in enumerate(settings.webhook_url.split()))

    @classmethod
    def _of(cls, settings: Settings, where: str, place: int) -> Receiver:
        if not settings.events_max:
            raise InvalidSettings("POSTROOM_WEBHOOK_URL needs the stream of events: POSTROOM_EVENTS_MAX is 0")
        try:
            url = urlsplit(where)
            host, port = url.hostname or "", url.port
            host.encode("idna")  # as the resolver does
        except ValueError:
            host, port = "", None
        if not host or url.scheme not in _PORTS or url.username is not None or not where.isascii():
            raise InvalidSettings("POSTROOM_WEBHOOK_URL has to be https://host/path, or http://, without a user")
        if not where.isprintable():
            raise InvalidSettings("POSTROOM_WEBHOOK_URL holds what cannot be printed")
        is_tls = url.scheme == "https"
        return cls(
            host=host,
            port=port or _PORTS[url.scheme],
            path=(url.path or "/") + (f"?{url.query}" if url.query else ""),
            secrets=secrets_of(_secret(settings)),
            states=_states(settings.webhook_states),
            timeout_s=settings.webhook_timeout_s,
            tls=ssl.create_default_context(cafile=settings.ca_file or None) if is_tls else None,
            place=place,
        )

    def post(self, webhook: Webhook, now_s: int) -> str:
        """Post a webhook; returns why it was not taken, which is empty when it was.

        Args:
            webhook: what to post.
            now_s: seconds since 1970.
        """
        connection = (
            HTTPSConnection(self.host, self.port, timeout=self.timeout_s, context=self.tls)
            if self.tls
            else HTTPConnection(self.host, self.port, timeout=self.timeout_s)
        )
        try:
            status = within(self.timeout_s, lambda: self._posted(connection, webhook, now_s))
        except TimeoutError:
            return f"no answer within {self.timeout_s:g} s"
        except (OSError, HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            _end(connection)
        if 300 <= status < 400:
            return f"it answered {status}: redirects are not followed"
        return "" if 200 <= status < 300 else f"it answered {status}"

    def _posted(self, connection: HTTPConnection, webhook: Webhook, now_s: int) -> int:
        fields = {
            "Content-Type": "application/json",
            "User-Agent": f"Postroom/{__version__}",
            "Connection": "close",
            **headers(webhook.id, now_s, webhook.body, self.secrets),
        }
        connection.request("POST", self.path, webhook.body.encode(), fields)
        return connection.getresponse().status


def _end(connection: HTTPConnection) -> None:
    """Break the connection: whoever still waits for an octet of it waits no longer."""
    if connection.sock:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def _secret(settings: Settings) -> str:
    if settings.webhook_secret or not settings.webhook_secret_file:
        return settings.webhook_secret
    try:
        return Path(settings.webhook_secret_file).read_text("ascii")
    except (OSError, UnicodeError) as error:
        raise InvalidSettings(f"POSTROOM_WEBHOOK_SECRET_FILE cannot be read ({type(error).__name__})") from None


def _states(text: str) -> frozenset[LetterState]:
    names = frozenset(text.replace(",", " ").split())
    if unknown := names - _STATES:
        raise InvalidSettings(
            f"POSTROOM_WEBHOOK_STATES has {', '.join(sorted(unknown))}; there are {', '.join(sorted(_STATES))}"
        )
    return frozenset(map(LetterState, names))
