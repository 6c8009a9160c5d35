"""A null server in Python: it takes every letter and keeps only their number. ``python null_server.py PORT [PEM]``

It stands in for smtp-sink, and can two things more: BDAT (RFC 3030), and STARTTLS (RFC 3207) when it is given a file
with a key and its certificates. Its standard output is the counter that ``smtp-sink -c`` shows.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from itertools import count

OFFERS = ("PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING")
_END = b"\r\n.\r\n"
_letters = count(1)


class Session(asyncio.Protocol):
    """One client. Replies to what came together leave together (RFC 2920)."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._buffer = bytearray()
        self._replies: list[bytes] = []
        self._in_content = False
        self._chunk_left = 0
        self._is_last_chunk = False
        self._upgrade: asyncio.Task[None] | None = None
        """Under way: what comes meanwhile is answered when the encrypted transport is at hand."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 null.example.org ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgrade:
            self._answer()

    def _answer(self) -> None:
        while self._chunk() if self._chunk_left else self._content() if self._in_content else self._command():
            pass
        self._transport.write(b"".join(self._replies))
        self._replies.clear()

    def _command(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        verb, _, argument = bytes(line).partition(b" ")
        match verb.upper():
            case b"EHLO":
                offers = [*OFFERS, "STARTTLS"] if self._tls else OFFERS
                self._replies += [f"250-{each}\r\n".encode() for each in ("null.example.org", *offers)]
                self._replies.append(b"250 DSN\r\n")
            case b"DATA":
                self._replies.append(b"354 go ahead\r\n")
                # The end of DATA's own line may begin the end of the content (RFC 5321 §4.1.1.4).
                self._buffer[:0] = b"\r\n"
                self._in_content = True
            case b"BDAT":
                size, _, last = argument.partition(b" ")
                self._chunk_left, self._is_last_chunk = int(size), last.upper() == b"LAST"
                if not self._chunk_left:
                    self._chunk_taken()
            case b"STARTTLS":
                self._upgrade = asyncio.get_running_loop().create_task(self._start_tls())
            case b"QUIT":
                self._transport.write(b"".join(self._replies) + b"221 2.0.0 bye\r\n")
                self._replies.clear()
                self._transport.close()
            case _:
                self._replies.append(b"250 2.0.0 ok\r\n")
        return True

    def _content(self) -> bool:
        if (place := self._buffer.find(_END)) < 0:
            del self._buffer[: -len(_END) + 1]
            return False
        del self._buffer[: place + len(_END)]
        self._in_content = False
        self._taken()
        return True

    def _chunk(self) -> bool:
        octets = min(self._chunk_left, len(self._buffer))
        del self._buffer[:octets]
        self._chunk_left -= octets
        if self._chunk_left:
            return False
        self._chunk_taken()
        return True

    def _chunk_taken(self) -> None:
        if self._is_last_chunk:
            self._taken()
        else:
            self._replies.append(b"250 2.0.0 more\r\n")

    def _taken(self) -> None:
        os.write(1, b"mesg=%d\r" % next(_letters))
        self._replies.append(b"250 2.0.0 taken\r\n")

    async def _start_tls(self) -> None:
        self._transport.write(b"220 2.0.0 go ahead\r\n")
        assert self._tls
        try:
            encrypted = await asyncio.get_running_loop().start_tls(self._transport, self, self._tls, server_side=True)
        except OSError:
            return
        assert encrypted
        # STARTTLS is not offered a second time (RFC 3207 §4.2).
        self._transport, self._upgrade, self._tls = encrypted, None, None
        self._answer()


async def _serve(port: int, certificate: str | None) -> None:
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(lambda: Session(tls), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
