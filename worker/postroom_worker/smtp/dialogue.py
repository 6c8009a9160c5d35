"""A dialogue with a relay, to be read by people: what each side said; no secret, no content, and by default no address.

The client's octets are told by their lines. Where content begins follows from what was said: a chunk behind BDAT is as
long as it says (RFC 3030), and what follows a reply 354 ends with a line of a single dot (RFC 5321 §4.1.1.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from postroom.errors import LedgerUnavailable
from postroom.reply import Reply, printable, without_addresses

_BDAT = re.compile(rb"BDAT (\d+)", re.IGNORECASE)
_END = b"\r\n.\r\n"
_CONTENT_FOLLOWS = 354
_CHALLENGE = 334


class Dialogue:
    """Follows one session, from a point where no content is under way."""

    def __init__(self, tell: Callable[[Sequence[str]], None], *, has_addresses: bool) -> None:
        """Follow a session.

        Args:
            tell: takes lines: ``C: `` is what we said, ``S: `` what the relay said.
            has_addresses: whether addresses are told.
        """
        self._tell = tell
        self._has_addresses = has_addresses
        self._line = bytearray()
        """Of a command, so far."""
        self._chunk_left = 0
        """Octets of a chunk that are still to come."""
        self._content: bytearray | None = None
        """The last octets of content, while its end is to come."""
        self._octets = 0
        """Of the content, so far."""

    def we_said(self, octets: bytes | bytearray) -> None:
        """Take what was written: commands, content, or both."""
        lines: list[str] = []
        left = bytes(octets)
        while left:
            left = self._take(left, lines)
        self._say(lines)

    def relay_said(self, reply: Reply, lines: Sequence[str]) -> None:
        """Take a reply, given with its lines, without their codes."""
        if reply.code == _CONTENT_FOLLOWS:
            self._content, self._octets = bytearray(b"\r\n"), 0  # a dot may be the first line
        last = len(lines) - 1
        self._say([f"S: {reply.code}{'-' if place < last else ' '}{each}" for place, each in enumerate(lines)])

    def credentials_went(self, mechanism: str) -> None:
        """Take note of a step of AUTH, of which nothing is told but the mechanism, if it named one."""
        self._say([" ".join(filter(None, ("C:", mechanism, "****")))])

    def credentials_answered(self, reply: Reply) -> None:
        """Take note of the answer to a step of AUTH; a challenge is not told."""
        self._say([f"S: {reply.code} ****" if reply.code == _CHALLENGE else f"S: {reply}"])

    def _take(self, octets: bytes, lines: list[str]) -> bytes:
        """Take a piece from the front; returns the rest."""
        if self._chunk_left:
            rest = octets[self._chunk_left :]
            self._chunk_left -= len(octets) - len(rest)
            return rest
        if self._content is not None:
            return self._take_content(octets, lines)
        line, end, rest = octets.partition(b"\n")
        self._line += line + end
        if end:
            self._take_command(bytes(self._line).rstrip(b"\r\n"), lines)
            self._line.clear()
        return rest

    def _take_content(self, octets: bytes, lines: list[str]) -> bytes:
        kept = self._content or bytearray()
        seen = bytes(kept) + octets
        end = seen.find(_END)
        if end < 0:
            self._octets += len(octets)
            self._content = bytearray(seen[-len(_END) :])
            return b""
        rest = seen[end + len(_END) :]
        self._octets += len(octets) - len(rest)
        self._content = None
        lines.append(f"C: ({self._octets:,} octets of content)")
        return rest

    def _take_command(self, line: bytes, lines: list[str]) -> None:
        lines.append(f"C: {line.decode('utf-8', 'replace')}")
        if chunk := _BDAT.match(line):
            self._chunk_left = int(chunk[1])
            lines.append(f"C: ({self._chunk_left:,} octets of content)")

    def _say(self, lines: Sequence[str]) -> None:
        shown = [printable(each if self._has_addresses else without_addresses(each)) for each in lines]
        if shown:
            try:
                self._tell(shown)
            except LedgerUnavailable:
                return  # who traces misses a line; the letter does not wait for that
