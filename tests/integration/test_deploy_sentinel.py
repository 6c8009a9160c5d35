"""How deploy/kubernetes/sentinel starts its servers: a real Valkey, and a real Sentinel."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from postroom_worker.dev.server import dying_with_parent, free_port, program, wait_until

SHIPPED = Path(__file__).parents[2] / "deploy/kubernetes/sentinel"
ELSEWHERE = "localhost"
HERE = "127.0.0.1"


@contextmanager
def started(what: str, folder: Path, first: str) -> Iterator[Any]:
    """Run what start.sh starts as long as this lasts, on a port and in a folder other than the usual ones."""
    port = free_port()
    for name in ("data", "templates", "bin"):
        (folder / name).mkdir(exist_ok=True)
    for name in ("valkey.conf", "sentinel.conf"):
        text = re.sub(r"(?m)^(dir|port) .*\n", "", (SHIPPED / name).read_text())
        (folder / "templates" / name).write_text(f'dir "{folder}/data"\nport {port}\nbind {HERE}\n{text}')
    server = folder / "bin/valkey-server"
    server.unlink(missing_ok=True)
    server.symlink_to(program())
    process = subprocess.Popen(
        ["sh", SHIPPED / "start.sh", what],
        env={
            "PATH": f"{server.parent}:{os.environ['PATH']}",
            "NAME": HERE,
            "FIRST": first,
            "DATA": f"{folder}/data",
            "TEMPLATES": f"{folder}/templates",
        },
        stdout=subprocess.DEVNULL,
        preexec_fn=dying_with_parent(),
    )
    # It keeps the port of its first start, as a container does.
    configuration = folder / "data" / f"{what}.conf"
    wait_until(configuration.exists, "it has a configuration")
    found = re.search(r"(?m)^port (\d+)$", configuration.read_text())
    assert found
    client = Redis(port=int(found[1]), decode_responses=True, socket_timeout=5)
    try:
        wait_until(lambda: answers(client), f"the {what} answers")
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(60)


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def role(client: Any) -> str:
    return str(client.info("replication")["role"])


def test_the_first_is_primary_the_others_follow_it_and_the_ledger_is_durable(tmp_path: Path) -> None:
    with started("valkey", tmp_path, first=HERE) as client:
        assert role(client) == "master"
        settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write")
        assert settings == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "min-replicas-to-write": "1",
        }


def test_who_starts_again_takes_the_place_that_sentinels_gave_it_and_not_its_first_one(tmp_path: Path) -> None:
    with started("valkey", tmp_path, first=ELSEWHERE) as client:
        assert role(client) == "slave"
        # What a Sentinel does in a failover.
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.config_rewrite()
    with started("valkey", tmp_path, first=ELSEWHERE) as client:
        assert role(client) == "master"


def test_a_sentinel_knows_the_first_primary_by_the_name_that_workers_ask_for(tmp_path: Path) -> None:
    with started("sentinel", tmp_path, first=ELSEWHERE) as client:
        assert client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "postroom") == [ELSEWHERE, "6379"]
