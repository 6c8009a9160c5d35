"""A relay whose name has several addresses: one that is dead is passed over."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from house import desk
from postroom import LetterState
from postroom_worker.dev.scripted_relay import scripted_relay
from postroom_worker.dev.server import free_port


def test_a_relay_whose_first_address_is_dead_is_reached_at_its_next(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        live = ("127.0.0.1", relay.port)
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in (("127.0.0.1", free_port()), live)
        ]
        resolve = socket.getaddrinfo

        def answers(host: Any, port: Any, *args: Any, **keywords: Any) -> Any:
            """What the resolver would say of such a name."""
            return found if port == relay.port else resolve(host, port, *args, **keywords)

        monkeypatch.setattr(socket, "getaddrinfo", answers)
        status = here.deliver(here.accept("ann@example.com"))
    assert status.state is LetterState.SENT
    assert relay.accepted == {"ann@example.com": 1}
