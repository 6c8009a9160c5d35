"""A failover: what was the primary is a replica now, and the connections to it do not break."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from house import house
from postroom import Letter, LetterState
from postroom.broker import QUEUE
from postroom_worker.dev.chaos.proxy import proxy
from postroom_worker.dev.server import server, wait_until


def test_a_producer_that_kept_its_connections_sends_to_the_new_primary(tmp_path: Path) -> None:
    at_once = ("--repl-diskless-sync-delay", "0")
    with (
        server(tmp_path / "first", *at_once) as first,
        server(tmp_path / "second") as second,
        proxy(first.port) as before,
        Redis(port=first.port) as old,
        Redis(port=second.port) as new,
        house(tmp_path, before.url) as here,
    ):
        new.replicaof("127.0.0.1", first.port)
        here.postroom.send_letter("before@example.com", "hi")
        wait_until(lambda: new.llen(QUEUE) == 1, "the replica follows")

        before.target = ("127.0.0.1", second.port)
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", second.port)

        many = [Letter(f"bulk-{each}@example.com", "hi", settings=here.postroom.settings) for each in range(2)]
        receipts = [*here.postroom.send_letters(many), here.postroom.send_letter("after@example.com", "hi")]
        assert {each.status().state for each in receipts} == {LetterState.QUEUED}
        assert new.llen(QUEUE) == 2, "the bell of one may be lost, those of the next are rung"
