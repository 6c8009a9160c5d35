"""One run of one row: its client and workers on a fresh stage, first to warm up, then to measure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from time import perf_counter, sleep

from redis import Redis

import sample
import usage
from environments import NotToBeHad, made
from postroom.settings import Settings, variable
from processes import kill, running
from rows import Row
from stage import Stage, stage

PEERS = Path(__file__).resolve().parent / "peers"
_POLL_S = 0.005

if not sys.platform.startswith("linux"):
    raise SystemExit("what letters cost is read from Linux's /proc: run this benchmark on Linux")


class Failed(Exception):
    """The row did not do what it had to; the message says what, and where its log is."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave; costs are those of a letter."""

    letters: int
    letters_per_s: float
    client_cpu_us: float
    worker_cpu_us: float
    redis_cpu_us: float
    redis_commands: float
    """All that Redis executed, those within its scripts too."""
    redis_bytes: float
    """Both ways."""
    client_peak_mb: float
    worker_peak_mb: float
    sink: str


@dataclass(frozen=True, slots=True)
class _Account:
    """What was spent so far."""

    client_s: float
    worker_s: float
    redis_s: float
    commands: int
    octets: int


def measure(row: Row, letters: int, folder: Path, *, python_sink: bool, limit_s: float) -> Figures:
    """Run a row once.

    Args:
        row: which.
        letters: how many are measured; a fifth of them, and two at least, warm up before.
        folder: an empty one, for data and logs.
        python_sink: take the null server in Python in any case.
        limit_s: seconds after which it has failed.

    Raises:
        NotToBeHad: this machine, or this Postroom, lacks what the row needs.
        Failed: it did not send all letters, or not each once.
    """
    _check_settings(row)
    variables = made(row.environment)
    warming = max(2, letters // 5)
    with stage(row.table, folder, python_sink=python_sink) as here:
        sample.write(here.letters, warming + letters, attachments=row.table.attachments)
        with _run(row, here, {**variables, **here.variables(row)}, limit_s) as run:
            return run.figures(warming, letters)


def _check_settings(row: Row) -> None:
    known = {variable(name) for name in Settings.__dataclass_fields__}
    for name in row.variables:
        if name.startswith("POSTROOM_") and name not in known:
            raise NotToBeHad(f"this Postroom has no setting {name}")


@contextmanager
def _run(row: Row, here: Stage, variables: Mapping[str, str], limit_s: float) -> Iterator[_Run]:
    with ExitStack() as ends:
        workers = [
            ends.enter_context(running(row.worker, here.folder / f"worker-{number}", variables, folder=PEERS))
            for number in range(row.workers if row.worker else 0)
        ]
        client = ends.enter_context(running(row.client, here.folder / "client", variables, folder=PEERS, talks=True))
        redis = ends.enter_context(Redis.from_url(here.redis.url))
        # A client that hangs is read from in vain: its end ends the reading.
        timer = Timer(limit_s, kill, [client])
        timer.start()
        ends.callback(timer.cancel)
        yield _Run(row, here, client, workers, redis, perf_counter() + limit_s)


@dataclass(frozen=True, slots=True)
class _Run:
    """The processes of a row, on their stage."""

    row: Row
    stage: Stage
    client: subprocess.Popen[str]
    workers: Sequence[subprocess.Popen[str]]
    redis: Redis
    deadline_s: float

    def figures(self, warming: int, letters: int) -> Figures:
        """Send letters to warm up, then those that are measured."""
        self._hear("ready")
        self._send(warming, warming)
        look, poll = self._own_commands(warming)
        before, began_s = self._account(), perf_counter()
        polls = self._send(letters, warming + letters)
        took_s, after = perf_counter() - began_s, self._account()
        self._check(warming + letters)
        us = 1e6 / letters
        return Figures(
            letters=letters,
            letters_per_s=letters / took_s,
            client_cpu_us=(after.client_s - before.client_s) * us,
            worker_cpu_us=(after.worker_s - before.worker_s) * us,
            redis_cpu_us=(after.redis_s - before.redis_s) * us,
            redis_commands=(after.commands - before.commands - look - polls * poll) / letters,
            redis_bytes=(after.octets - before.octets) / letters,
            client_peak_mb=usage.peak_mb(self.client.pid),
            worker_peak_mb=sum(usage.peak_mb(each.pid) for each in self.workers),
            sink=self.stage.sink.program,
        )

    def _send(self, letters: int, total: int) -> int:
        """Have the client send, wait until all are done, and return how often the row was asked whether they are."""
        assert self.client.stdin
        with suppress(OSError):
            self.client.stdin.write(f"{letters}\n")
            self.client.stdin.flush()
        self._hear("done")
        while self.row.table.delivers and self.stage.sink.accepted() < total:
            self._wait(total)
        polls = 1
        while not self.row.settled(self.stage.redis.url, total):
            polls += 1
            self._wait(total)
        return polls

    def _wait(self, total: int) -> None:
        if perf_counter() > self.deadline_s:
            raise self._failed(f"{self.stage.sink.accepted()} of {total} letters had arrived when its time was over")
        if any(each.poll() is not None for each in self.workers):
            raise self._failed("its worker ended")
        sleep(_POLL_S)

    def _hear(self, word: str) -> None:
        assert self.client.stdout
        if self.client.stdout.readline().strip() != word:
            raise self._failed(f"its client ended, or its time was over, before it was {word}")

    def _check(self, total: int) -> None:
        expected = total if self.row.table.delivers else 0
        if (accepted := self.stage.sink.accepted()) != expected:
            raise self._failed(f"{expected} letters had to arrive, and {accepted} did")

    def _failed(self, what: str) -> Failed:
        return Failed(f"{what}: see {self.stage.folder}/*.err")

    def _account(self) -> _Account:
        info = self.redis.info("stats")
        return _Account(
            client_s=usage.cpu_s(self.client.pid),
            worker_s=sum(usage.cpu_s(each.pid) for each in self.workers),
            redis_s=usage.cpu_s(self.stage.redis.process.pid),
            commands=info["total_commands_processed"],
            octets=info["total_net_input_bytes"] + info["total_net_output_bytes"],
        )

    def _own_commands(self, total: int) -> tuple[int, int]:
        """How many commands of our own it costs to take an account, and to ask whether all is done."""
        first, second = self._account(), self._account()
        self.row.settled(self.stage.redis.url, total)
        third = self._account()
        look = second.commands - first.commands
        return look, third.commands - second.commands - look
