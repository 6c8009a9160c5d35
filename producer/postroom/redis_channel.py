"""Kombu's channel on Redis, mended: by itself it makes a client of Redis for each message, at more than its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class _OneClient:
    """Makes one client of Redis for a pool of connections."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._client: Any = None

    def __call__(self, *, connection_pool: Any, **options: Any) -> Any:
        """Return the client."""
        if self._client is None or self._client.connection_pool is not connection_pool:
            self._client = self._make(connection_pool=connection_pool, **options)
        return self._client


def keep_client(channel: Any) -> None:
    """Have a channel keep its client; the channel of another broker has none, and stays as it is."""
    make = getattr(channel, "Client", None)
    if make is not None and not isinstance(make, _OneClient):
        channel.Client = _OneClient(make)
