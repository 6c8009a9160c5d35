"""A line that delays and does not limit: ``python slow_line.py PORT TARGET_PORT DELAY_MS`` holds all octets each way.

The other side is dialled when the third delay is over: over a real line the handshake takes two, and the server hears
of the connection with the third (RFC 9293 §3.5); its greeting then takes a fourth.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

HANDSHAKE = 3


class Way:
    """One direction of a connection."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._out: asyncio.Transport | None = None
        self._is_waking = False

    def open(self, out: asyncio.Transport) -> None:
        """Let octets out here, from now on."""
        self._out = out
        self._wake()

    def take(self, octets: bytes) -> None:
        """Hold octets; none is the end."""
        self._held.append((self._loop.time() + self._delay_s, octets))
        self._wake()

    def _wake(self) -> None:
        if self._out and self._held and not self._is_waking:
            self._is_waking = True
            self._loop.call_at(self._held[0][0], self._pass_on)

    def _pass_on(self) -> None:
        assert self._out
        self._is_waking = False
        while self._held and self._held[0][0] <= self._loop.time():
            octets = self._held.popleft()[1]
            if octets:
                self._out.write(octets)
            else:
                self._out.close()
        self._wake()


class End(asyncio.Protocol):
    """One end of a line: what comes in here goes out at the other."""

    def __init__(self, inward: Way, outward: Way) -> None:
        self._inward = inward
        self._outward = outward

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._outward.open(transport)

    def data_received(self, data: bytes) -> None:
        self._inward.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inward.take(b"")


async def _serve(port: int, target: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    dialling = set()

    def near() -> End:
        there, back = Way(delay_s), Way(delay_s)

        async def dial() -> None:
            await asyncio.sleep(HANDSHAKE * delay_s)
            await loop.create_connection(lambda: End(back, there), "127.0.0.1", target)

        task = loop.create_task(dial())
        dialling.add(task)
        task.add_done_callback(dialling.discard)
        return End(there, back)

    server = await loop.create_server(near, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
