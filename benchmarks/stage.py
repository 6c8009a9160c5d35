"""What a run plays on: a Redis, a null server, perhaps a slow line and a certificate; all fresh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from postroom_worker.dev.server import Server, server
from rows import Row, Table
from sink import Sink, sink, slow_line


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and where."""

    folder: Path
    redis: Server
    sink: Sink
    smtp_port: int
    """Of the null server, or of the slow line before it."""
    ca_file: Path | None
    """What the null server's certificate is verified with, if it has one."""

    @property
    def letters(self) -> Path:
        """Where the letters are that clients read."""
        return self.folder / "letters.jsonl"

    def variables(self, row: Row) -> dict[str, str]:
        """Return what tells the programs of a row where everything is."""
        places = {"redis_url": self.redis.url, "smtp_port": self.smtp_port, "ca_file": self.ca_file}
        return {
            "BENCH_LETTERS": str(self.letters),
            "BENCH_REDIS_URL": self.redis.url,
            "BENCH_SMTP_PORT": str(self.smtp_port),
            "BENCH_CA_FILE": str(self.ca_file or ""),
            **{name: text.format(**places) for name, text in row.variables.items()},
        }


@contextmanager
def stage(table: Table, folder: Path, *, python_sink: bool) -> Iterator[Stage]:
    """Set up what the rows of a table need, as long as this lasts.

    Args:
        table: which.
        folder: an empty one, for data and logs.
        python_sink: take the null server in Python in any case.
    """
    with ExitStack() as running:
        redis = running.enter_context(server(folder / "redis"))
        certificate, ca_file = _certificate(folder) if table.tls else (None, None)
        null = running.enter_context(sink(folder, python=python_sink or table.bdat, certificate=certificate))
        port = null.port
        if table.delay_ms:
            port = running.enter_context(slow_line(folder, port, table.delay_ms))
        yield Stage(folder, redis, null, port, ca_file)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate with its key, and that of the authority which issued it."""
    authority = trustme.CA()
    certificate, ca_file = folder / "sink.pem", folder / "ca.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(ca_file))
    return certificate, ca_file
