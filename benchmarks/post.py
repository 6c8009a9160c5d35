"""Postroom with nothing beside it: a Redis for the ledger, another for the bells, a null server, and a client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from environments import OURS, made
from postroom import Letter, LetterState, Postroom, Settings
from postroom.ledger import Ledger, views
from postroom_worker.dev.server import Server, server, wait_until
from processes import running
from rows import POSTROOM_WORKER
from sink import Sink, sink

BODY = "The text of a letter, in some lines, as people write them.\n" * 25
"""1.5 KB."""
_PATIENCE_S = 600


@dataclass(frozen=True, slots=True)
class Post:
    """What runs, and who sends."""

    folder: Path
    ledger_server: Server
    null: Sink
    variables: dict[str, str]
    client: Postroom

    @property
    def ledger(self) -> Ledger:
        """The client's."""
        return self.client.ledger

    def info(self, section: str) -> dict[str, Any]:
        """What the ledger's Redis says of itself."""
        found: dict[str, Any] = self.ledger.redis.info(section)
        return found

    @contextmanager
    def worker(self) -> Iterator[int]:
        """Run a worker of two processes, warm, as long as this lasts, and give its process id."""
        with running(POSTROOM_WORKER, self.folder / "worker", self.variables) as process:
            self.deliver(100)
            yield process.pid

    def deliver(self, number: int) -> float:
        """Send so many letters in bulk, and return how many a second, until the ledger has all as sent."""
        began_s = time.perf_counter()
        with self._until_sent(number):
            self.client.send_letters(self._letter(each) for each in range(number))
        return number / (time.perf_counter() - began_s)

    def deliver_alone(self, number: int) -> None:
        """Send so many letters, each alone, until the ledger has all as sent."""
        with self._until_sent(number):
            for each in range(number):
                self.client.send(self._letter(each))

    @contextmanager
    def _until_sent(self, number: int) -> Iterator[None]:
        """Wait for so many letters; the ledger is asked when the null server has them all: what we ask counts, too."""
        sent, taken = self._sent() + number, self.null.accepted() + number
        yield
        wait_until(lambda: self.null.accepted() >= taken, "all are taken", _PATIENCE_S)
        wait_until(lambda: self._sent() >= sent, "all are recorded", _PATIENCE_S)

    def _sent(self) -> int:
        return views.counts(self.ledger)[LetterState.SENT]

    def _letter(self, number: int) -> Letter:
        return Letter(f"a{number}@example.com", BODY, subject=f"Letter {number}", settings=self.client.settings)


@contextmanager
def post() -> Iterator[Post]:
    """Set it all up, empty, as long as this lasts; no worker runs yet."""
    with TemporaryDirectory(prefix="postroom-bench-") as name:
        folder = Path(name)
        with server(folder / "ledger") as ledger, server(folder / "broker") as broker, sink(folder) as null:
            variables = {
                **made(OURS),
                "POSTROOM_REDIS_URL": ledger.url,
                "POSTROOM_BROKER_URL": broker.url,
                "POSTROOM_RELAY_URL": f"smtp+plain://127.0.0.1:{null.port}",
                "POSTROOM_EHLO_NAME": "client.example.org",
                "POSTROOM_FROM": "Bob <bob@example.org>",
            }
            client = Postroom(Settings.from_environment(variables))
            try:
                yield Post(folder, ledger, null, variables, client)
            finally:
                client.ledger.redis.close()
