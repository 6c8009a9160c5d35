"""The embedded server's append-only file was cut short, or damaged: it never begins anew with an empty ledger."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from postroom_worker.dev.server import NoServer, Server, server

LINES = 20


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Server]:
    """A server that was killed after it wrote some lines."""
    with server(tmp_path / "a folder", "--appendfsync", "always") as running:
        with Redis(port=running.port) as redis:
            for number in range(LINES):
                redis.set(f"line-{number}", "x" * 100)
        running.kill()
        yield running


def written(running: Server) -> Path:
    """The file that it appends to."""
    [path] = running.folder.glob("appendonlydir/*.incr.aof")
    return path


def lines(running: Server) -> int:
    """Start it again, and return how many lines it still has."""
    running.restart()
    with Redis(port=running.port) as redis:
        return int(redis.dbsize())


def test_a_last_line_that_was_cut_short_is_lost_alone(killed: Server) -> None:
    path = written(killed)
    path.write_bytes(path.read_bytes()[:-17])
    assert lines(killed) == LINES - 1


def test_damage_in_the_middle_is_told_and_mended_by_what_the_error_says(killed: Server) -> None:
    path = written(killed)
    octets = path.read_bytes()
    middle = octets.index(b"*3\r\n", len(octets) // 2)
    damaged = octets[:middle] + b"\xff" * 3 + octets[middle + 3 :]
    path.write_bytes(damaged)
    with pytest.raises(NoServer, match="is damaged before its end, so the server does not start") as caught:
        killed.restart()
    assert path.read_bytes() == damaged
    [command] = re.findall(r"bash -c '.*'", str(caught.value))
    subprocess.run(command, shell=True, check=True, input=b"y\n", stdout=subprocess.DEVNULL)
    assert 0 < lines(killed) < LINES
