"""Ledger and bells where Sentinels say: after a failover both go on with the new primary."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from house import house
from postroom import LedgerUnavailable, LetterState, Settings
from postroom.broker import QUEUE
from postroom.ledger import open_ledger
from postroom_worker.dev.server import Server, dying_with_parent, free_port, program, server, wait_until

NAME = "letters"


@contextmanager
def sentinel(folder: Path, primary_port: int) -> Iterator[Redis]:
    """Run a Sentinel that watches a primary, as long as this lasts."""
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {primary_port} 1\n"
        f"sentinel down-after-milliseconds {NAME} 500\nlogfile {folder / 'sentinel.log'}\n"
    )
    process = subprocess.Popen([program(), configuration, "--sentinel"], preexec_fn=dying_with_parent())
    try:
        with Redis(port=port) as client:
            wait_until(lambda: _knows_a_replica(client), "the Sentinel knows the replica")
            yield client
    finally:
        process.kill()
        process.wait()


def _knows_a_replica(client: Redis) -> bool:
    try:
        return len(client.sentinel_slaves(NAME)) == 1
    except RedisError:
        return False


@contextmanager
def _replica(folder: Path, of: Server) -> Iterator[Server]:
    """A server that has all that another has."""
    with server(folder, "--replicaof", f"127.0.0.1 {of.port}") as found, Redis(port=found.port) as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
        yield found


def test_when_the_primary_dies_letters_and_bells_go_to_the_new_primary(tmp_path: Path) -> None:
    at_once = ("--repl-diskless-sync-delay", "0")
    with (
        server(tmp_path / "first", *at_once) as first,
        _replica(tmp_path / "second", first) as second,
        sentinel(tmp_path, first.port) as watching,
        Redis(port=second.port) as new,
        house(tmp_path, f"sentinel://127.0.0.1:1,{_address(watching)}/0?master={NAME}") as here,
    ):
        before = here.postroom.send_letter("before@example.com", "hi")
        wait_until(lambda: new.llen(QUEUE) == 1, "the replica follows")
        first.kill()
        after = wait_until(lambda: _sent(here.postroom), "a letter is taken again")
        assert {each.status().state for each in (before, after)} == {LetterState.QUEUED}
        assert new.exists(here.ledger.keys.letter(after.id))
        wait_until(lambda: here.postroom.send_letter("bell@example.com", "hi") and new.llen(QUEUE) >= 2, "bells ring")


def _address(watching: Redis) -> str:
    return f"127.0.0.1:{watching.connection_pool.connection_kwargs['port']}"


def _sent(postroom: Any) -> Any:
    try:
        return postroom.send_letter("after@example.com", "hi")
    except LedgerUnavailable:
        return None


def test_sentinels_that_are_away_are_redis_away() -> None:
    ledger = open_ledger(Settings(redis_url=f"sentinel://127.0.0.1:1/0?master={NAME}"))
    with pytest.raises(LedgerUnavailable):
        ledger.now_ms()
