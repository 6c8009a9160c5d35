"""What the faults break: the server with its append-only file, the proxy before it, the relay, and the workers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from redis import Redis

from chaos.proxy import Proxy, proxy
from chaos.relay import Relay, relay
from house import House, house, timeouts
from postroom import LetterState
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger.record import text
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.server import Server, server
from scripted_relay import Session

SETTINGS = {
    "POSTROOM_LEASE_S": "2",
    "POSTROOM_TIMER_S": "0.2",
    "POSTROOM_BELL_S": "30",  # so a bell counts as lost after a second
    "POSTROOM_RETRY_FIRST_S": "0.3",
    "POSTROOM_RETRY_MAX_S": "0.6",
    "POSTROOM_PAUSE_FIRST_S": "0.2",
    "POSTROOM_PAUSE_MAX_S": "0.5",
    **timeouts(1),
    "POSTROOM_CONTENTS_OVER": "1000",
}


@dataclass(slots=True)
class Stage:
    """All of it, running."""

    server: Server
    redis: Redis
    """Not by the proxy."""
    proxy: Proxy
    relay: Relay
    house: House
    workers: dict[str, Worker] = field(default_factory=dict)
    alone: Lock = field(default_factory=Lock)
    """Whoever breaks a process or the net: one at a time, so that what is broken is mended by what is whole."""

    def start(self, name: str) -> None:
        """Start a worker, or start it anew."""
        self.workers[name] = self.house.worker(name)

    def logs(self) -> str:
        """What the workers logged."""
        return "".join(each.log.read_text("utf-8", "replace") for each in self.workers.values())

    def owner(self, session: Session) -> tuple[str, int] | None:
        """Return the worker, and the process of it, that is at the other end of a session."""
        try:
            inode = _inode(session.sock.getpeername()[1])
        except OSError:  # it has hung up
            return None
        for name, worker in self.workers.items():
            for pid in children(worker):
                if inode and inode in _sockets(pid):
                    return name, pid
        return None

    def is_quiet(self) -> bool:
        """True when one letter is in hand, and no bell waits."""
        in_hand = self.redis.zcard(self.house.ledger.keys.index(LetterState.SENDING, 0))
        return in_hand == 1 and not any(self.redis.llen(queue) for queue in (QUEUE, BULK_QUEUE))

    def claimed_by(self, pids: Sequence[int]) -> list[str]:
        """Return the letters that are claimed by these processes."""
        keys, redis = self.house.ledger.keys, self.redis
        sending = [text(each) for each in redis.zrange(keys.index(LetterState.SENDING, 0), 0, -1)]
        workers = {each: text(redis.hget(keys.letter(each), "worker")) for each in sending}
        return [each for each, worker in workers.items() if worker.rpartition(":")[2] in map(str, pids)]


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set everything up as long as this lasts; no worker runs yet."""
    with ExitStack() as running:
        # What was answered is in the file: with `everysec` Redis holds writes back while it waits for the disk.
        redis_server = running.enter_context(server(folder / "redis", "--appendfsync", "always"))
        before = running.enter_context(proxy(redis_server.port))
        to = running.enter_context(relay())
        settings = SETTINGS | {"POSTROOM_RELAY_URL": to.url, "POSTROOM_BROKER_URL": redis_server.url}
        here = running.enter_context(house(folder, before.url, **settings))
        redis = running.enter_context(Redis.from_url(redis_server.url))
        yield Stage(redis_server, redis, before, to, here)


def children(worker: Worker) -> list[int]:
    """Return the processes of a worker that deliver."""
    pid = worker.process.pid
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """True until a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _inode(port: int) -> str:
    """The socket that is bound to a port of the loopback interface at our end of a connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            return fields[9]
    return ""


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            found |= set(re.findall(r"socket:\[(\d+)\]", str(each.readlink())))
    except OSError:
        return found
    return found
