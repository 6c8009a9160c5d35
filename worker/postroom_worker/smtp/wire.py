"""The octets between us and a relay: commands out, replies in, each within bounds of time and size."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
from functools import lru_cache

from postroom import clock
from postroom.reply import Reply
from postroom_worker.outcome import Answer, Phase, Silence

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_LINE_MAX = 4096  # octets; RFC 5321 §4.5.3.1.5 asks for 512
_REPLY_MAX = 64 * 1024
_BLOCK = 16 * 1024
_WRITE_BLOCK = 64 * 1024
_UNREAD_MAX = 1024 * 1024
"""Replies that are kept while we write; a relay that says more is not listened to until we read."""


class SessionFailed(Exception):
    """The session cannot go on; the answer says where and why."""

    def __init__(self, phase: Phase, met: Reply | Silence, detail: str = "") -> None:
        super().__init__(f"{phase}: {met} {detail}")
        self.answer = Answer(phase, met, detail)


class Wire:
    """A connected socket, and the octets that came in and are not read yet.

    The socket never waits by itself: whatever is there is taken at once, and only what is not is waited for.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0)
        self.sock = sock
        self.written = 0
        """Octets of the last write that the connection took."""
        self._buffer = bytearray()
        self._block_octets = 0
        """Written of the present block."""
        self._block_s = 0.0
        """Seconds that they took."""

    @property
    def has_leftover(self) -> bool:
        """True when the relay said something that nobody asked for, or hung up."""
        if self._buffer:
            return True
        try:
            self._buffer += self.sock.recv(_BLOCK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Forget what came in; the socket is its owner's to close."""
        self._buffer.clear()

    def write(self, octets: bytes | bytearray, phase: Phase, timeout_s: float) -> None:
        """Write all octets; meanwhile take in what the relay says, so that neither waits for the other (RFC 2920 §3.1).

        Args:
            octets: what is written.
            phase: where we are, for the answer if it fails.
            timeout_s: for each block of 64 KiB, in however many writes, so that a large content has its time on a slow
                line, and a relay that takes an octet a second has not (RFC 5321 §4.5.3.2.5).

        Raises:
            SessionFailed: the connection was lost, or they were not taken in time; `written` says how many were.
        """
        self.written = 0
        left = memoryview(octets)
        try:
            while left:
                count = self._write_some(left[: _WRITE_BLOCK - self._block_octets], timeout_s)
                self.written += count
                left = left[count:]
        except TimeoutError:
            what = f"the relay took {self._block_octets} octets in {timeout_s:g} s"
            raise SessionFailed(phase, Silence.TIMEOUT, what) from None
        except OSError as error:
            raise SessionFailed(phase, Silence.CONNECTION_LOST, str(error)) from None

    def _write_some(self, octets: memoryview, timeout_s: float) -> int:
        began_s = clock.steady_s()
        if self._block_s >= timeout_s:
            raise TimeoutError
        count = self._sent(octets, began_s + timeout_s - self._block_s)
        self._block_s += clock.steady_s() - began_s
        self._block_octets += count
        if self._block_octets >= _WRITE_BLOCK:
            self._begin_block()
        return count

    def _begin_block(self) -> None:
        self._block_octets, self._block_s = 0, 0.0

    def _sent(self, octets: memoryview, deadline: float) -> int:
        """Write as many as the connection takes, one at least."""
        while True:
            try:
                return self.sock.send(octets)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._take_in(select.POLLIN | select.POLLOUT, deadline)
            except ssl.SSLWantReadError:
                self._take_in(select.POLLIN, deadline)

    def _take_in(self, events: int, deadline: float) -> None:
        """Wait until the socket is ready, and take in what came."""
        if len(self._buffer) > _UNREAD_MAX:
            events &= ~select.POLLIN
        if self._wait(events, deadline) & ~select.POLLOUT:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                octets = self.sock.recv(_BLOCK)
                if not octets:
                    raise ConnectionResetError("the relay hung up")
                self._buffer += octets

    def _wait(self, events: int, deadline: float) -> int:
        """Wait for one of these events, and return which came."""
        poll = select.poll()
        poll.register(self.sock, events)
        found = poll.poll(max(0.0, 1000 * (deadline - clock.steady_s())))
        if not found:
            raise TimeoutError
        return found[0][1]

    def read_reply(self, phase: Phase, timeout_s: float) -> Reply:
        """Read one reply, of however many lines (RFC 5321 §4.2.1).

        Args:
            phase: where we are, for the answer if there is none.
            timeout_s: for the whole reply, not for each read: a relay that sends an octet a second ends here.

        Raises:
            SessionFailed: no reply in time, connection lost, or one that cannot be read.
        """
        return self.read_lines(phase, timeout_s)[0]

    def read_lines(self, phase: Phase, timeout_s: float) -> tuple[Reply, list[str]]:
        """Read one reply, and return its lines too, without their codes: as `read_reply`."""
        self._begin_block()
        deadline = clock.steady_s() + timeout_s
        code, lines, size = b"", [], 0
        while True:
            line = self._read_line(phase, deadline)
            size += len(line)
            reply, found, text = _parsed(line)
            if not found or (code and found != code) or size > _REPLY_MAX:
                what = "too long" if size > _REPLY_MAX else repr(line[:80])
                raise SessionFailed(phase, Silence.MALFORMED, f"the reply is {what}")
            code = found
            lines.append(text)
            if reply:
                return reply if len(lines) == 1 else Reply.of(int(code), lines), lines

    def _read_line(self, phase: Phase, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LINE_MAX:
                raise SessionFailed(phase, Silence.MALFORMED, f"a line of the reply is over {_LINE_MAX} octets")
            self._buffer += self._receive(phase, deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _receive(self, phase: Phase, deadline: float) -> bytes:
        try:
            octets = self._received(deadline)
        except TimeoutError:
            raise SessionFailed(phase, Silence.TIMEOUT, "no reply in time") from None
        except OSError as error:
            raise SessionFailed(phase, Silence.CONNECTION_LOST, str(error)) from None
        if not octets:
            raise SessionFailed(phase, Silence.CONNECTION_LOST, "the relay hung up")
        return octets

    def _received(self, deadline: float) -> bytes:
        """What came, as soon as something does; nothing at the end of the connection."""
        while True:
            try:
                return self.sock.recv(_BLOCK)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, deadline)


@lru_cache(maxsize=256)
def _parsed(line: bytes) -> tuple[Reply | None, bytes, str]:
    """Return the reply that a line ends, when it ends one, its code and its text; nothing of a line that is none.

    A relay says the same few lines again and again.
    """
    match = _LINE.fullmatch(line)
    if not match:
        return None, b"", ""
    text = (match[3] or b"").decode("utf-8", "replace")
    return None if match[2] == b"-" else Reply.of(int(match[1]), [text]), match[1], text
