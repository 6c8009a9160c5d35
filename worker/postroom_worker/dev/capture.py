"""A relay for development: takes every letter, writes it to a folder as an .eml file, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from postroom_worker.dev.server import free_port

Answer = Callable[[int], str | None]
"""From how many times a recipient was named to the reply; None takes it."""


def taken(_times_named: int) -> str | None:
    """Take a recipient."""
    return None


def greylisted(times: int) -> Answer:
    """Defer a recipient so many times."""
    return lambda times_named: "451 4.7.1 Greylisted, please come back later" if times_named <= times else None


def refused(_times_named: int) -> str:
    """Refuse a recipient for good."""
    return "550 5.1.1 No such mailbox here"


class Capture:
    """The aiosmtpd handler: each hook is called with what the client said, and returns the reply."""

    def __init__(self, folder: Path, answers: Mapping[str, Answer], slow: Mapping[str, float], port: int) -> None:
        """Capture.

        Args:
            folder: where the .eml files go, and ``envelopes.jsonl`` with a line for each.
            answers: how to answer RCPT, by address.
            slow: seconds to take for the content, by address.
            port: where it listens.
        """
        self.port = port
        self.folder = folder
        self.answers = answers
        self.slow = slow
        self._numbers = count(len(list(folder.glob("*.eml"))) + 1)
        self.named: Counter[str] = Counter()
        self.accepted: Counter[tuple[str, str]] = Counter()
        """How often each recipient was accepted, by Message-ID and address: the server's own account."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[Any]
    ) -> str:
        """RCPT TO."""
        self.named[address] += 1
        reply = self.answers.get(address, taken)(self.named[address])
        if reply is not None:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The end of the content."""
        await asyncio.sleep(max((self.slow.get(path, 0.0) for path in envelope.rcpt_tos), default=0.0))
        content = bytes(envelope.original_content or b"")
        name = f"{next(self._numbers):04d}.eml"
        (self.folder / name).write_bytes(content)
        with (self.folder / "envelopes.jsonl").open("a") as out:
            row = {"file": name, "reverse_path": envelope.mail_from, "recipients": envelope.rcpt_tos}
            out.write(json.dumps(row) + "\n")
        for path in envelope.rcpt_tos:
            self.accepted[_message_id(content), path] += 1
        return f"250 2.0.0 Captured as {name}"


@contextmanager
def capture(
    folder: Path, *, port: int = 0, answers: Mapping[str, Answer] | None = None, slow: Mapping[str, float] | None = None
) -> Iterator[Capture]:
    """Run a capturing relay on the loopback interface as long as this lasts.

    Args:
        folder: where the .eml files go; made if missing.
        port: 0 takes a free one.
        answers: how to answer RCPT, by address; all others are taken.
        slow: seconds to take for the content, by address.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # An empty mapping is kept too: whoever passed it may fill it later.
    handler = Capture(folder, {} if answers is None else answers, {} if slow is None else slow, port or free_port())
    controller = Controller(handler, hostname="127.0.0.1", port=handler.port, ident="Postroom capture")
    controller.start()
    try:
        yield handler
    finally:
        controller.stop()


def _message_id(content: bytes) -> str:
    for line in content.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        if line.lower().startswith(b"message-id:"):
            return line.split(b":", 1)[1].strip().decode("ascii", "replace")
    return ""
