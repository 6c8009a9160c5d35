"""The broker is there and takes no bells, while the ledger lives: what was due stays due."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from house import desk
from postroom import LetterState
from postroom.bell import Bells
from postroom.broker import QUEUE
from postroom_worker.dev.server import server
from postroom_worker.timer import tick


def test_letters_whose_bells_cannot_be_rung_are_due_again_at_once(redis_url: str, tmp_path: Path) -> None:
    with (
        server(tmp_path / "broker") as broker,
        Redis(port=broker.port) as redis,
        desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_BROKER_URL=broker.url) as here,
    ):
        receipts = [here.accept(f"due-{each}@example.com", send_at=here.ledger.now_ms()) for each in range(3)]
        bells = Bells.of(here.office.settings)
        redis.replicaof("127.0.0.1", 1)
        tick(here.ledger, bells, 0, {})
        assert {each.status().state for each in receipts} == {LetterState.QUEUED}
        redis.replicaof("NO", "ONE")
        tick(here.ledger, bells, 0, {})
        assert redis.llen(QUEUE) == 3
        tick(here.ledger, bells, 0, {})
        assert redis.llen(QUEUE) == 3, "once"
