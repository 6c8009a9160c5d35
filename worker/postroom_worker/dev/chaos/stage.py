"""What the faults break: the servers of ledger and broker, the proxies, two relays, and the workers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from redis import Redis

from postroom import LetterState, Postroom, Settings
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger import Ledger
from postroom.ledger.record import text
from postroom_worker.dev import fleet
from postroom_worker.dev.chaos.processes import children, is_at
from postroom_worker.dev.chaos.proxy import Proxy, proxy
from postroom_worker.dev.chaos.relay import Relay, relay
from postroom_worker.dev.scripted_relay import Session
from postroom_worker.dev.server import Server, server

WORKERS = ("ann", "ben")
_PHASES = ("GREETING", "COMMAND", "MAIL", "RCPT", "DATA", "BODY", "CONTENT")
OURS = {
    "POSTROOM_RELAY_URL": "",
    "POSTROOM_RELAY_PASSWORD_FILE": "",
    "POSTROOM_RELAY_TOKEN": "",
    "POSTROOM_REPLICAS": "",
    "POSTROOM_LEASE_S": "2",
    "POSTROOM_TIMER_S": "0.2",
    "POSTROOM_BELL_S": "30",  # so a bell counts as lost after a second
    "POSTROOM_RETRY_FIRST_S": "0.3",
    "POSTROOM_RETRY_MAX_S": "0.6",
    "POSTROOM_GIVE_UP_S": "",
    "POSTROOM_PAUSE_FIRST_S": "0.2",
    "POSTROOM_PAUSE_MAX_S": "0.5",
    "POSTROOM_SLOW_S": "1",
    "POSTROOM_KEEP_SENT_S": "",
    "POSTROOM_KEEP_FAILED_S": "",
    **{f"POSTROOM_{phase}_TIMEOUT_S": "1" for phase in _PHASES},
}
"""Where letters go, and how long anything waits: whatever the user's own settings say."""
DEFAULTS = {"POSTROOM_CONTENTS_OVER": "1000"}
"""So that there are contents, unless the user's own settings say otherwise."""
_RELAYS = """\
[relays.first]
url = "smtp+plain://127.0.0.1:{first}"
limits = {{ connections = 3, letters_per_s = 100 }}

[relays.spare]
url = "smtp+plain://127.0.0.1:{spare}"
"""
_MENDED_S = 10


@dataclass(slots=True)
class Stage:
    """All of it, running."""

    folder: Path
    environment: Mapping[str, str]
    ledger_server: Server
    broker_server: Server
    redis: Redis
    """The ledger's, not by the proxy."""
    queues: Redis
    """The broker's."""
    before: Proxy
    """Before the ledger's server."""
    relays: Mapping[str, Relay]
    """In order of failover."""
    postroom: Postroom
    workers: dict[str, fleet.Worker] = field(default_factory=dict)
    alone: Lock = field(default_factory=Lock)
    """Whoever breaks a process or the net: one at a time, so that what is broken is mended by what is whole."""
    _is_over: bool = False

    @property
    def ledger(self) -> Ledger:
        """The ledger, as the callers see it."""
        return self.postroom.ledger

    @property
    def begun(self) -> int:
        """Transactions begun, at all relays."""
        return sum(each.begun for each in self.relays.values())

    @property
    def taken(self) -> Counter[tuple[str, str]]:
        """The relays' own account: how often each recipient, by letter and address, was accepted."""
        return sum((each.account for each in self.relays.values()), Counter())

    @property
    def refused(self) -> set[str]:
        """The addresses that a relay refused for good."""
        return set().union(*(each.refused for each in self.relays.values()))

    def start(self, name: str) -> None:
        """Start a worker, or start it anew."""
        if not self._is_over:
            self.workers[name] = fleet.start(self.folder, self.environment, name, "--concurrency=2")

    def logs(self) -> str:
        """What the workers logged."""
        return "".join(each.log.read_text("utf-8", "replace") for each in self.workers.values())

    def place(self, session: Session) -> tuple[str, Relay, int]:
        """Return the relay that a session is with, its name, and the port by which it knows the proxy before it."""
        name, found = next((name, each) for name, each in self.relays.items() if each is session.relay)
        try:
            return name, found, session.sock.getpeername()[1]
        except OSError:  # it has hung up
            return name, found, 0

    def owner(self, session: Session) -> tuple[str, int] | None:
        """Return the worker, and the process of it, that is at the other end of a session."""
        _, found, port = self.place(session)
        client = found.before.client_port(port)
        for name, worker in self.workers.items():
            for pid in children(worker):
                if client and is_at(pid, client):
                    return name, pid
        return None

    def is_quiet(self) -> bool:
        """True when one letter is in hand, and no bell waits."""
        in_hand = self.redis.zcard(self.ledger.keys.index(LetterState.SENDING, 0))
        return in_hand == 1 and not any(self.queues.llen(queue) for queue in (QUEUE, BULK_QUEUE))

    def claimed_by(self, pids: Sequence[int]) -> list[str]:
        """Return the letters that are claimed by these processes."""
        keys, redis = self.ledger.keys, self.redis
        sending = [text(each) for each in redis.zrange(keys.index(LetterState.SENDING, 0), 0, -1)]
        workers = {each: text(redis.hget(keys.letter(each), "worker")) for each in sending}
        return [each for each, worker in workers.items() if worker.rpartition(":")[2] in map(str, pids)]

    def stop(self) -> None:
        """Stop the workers in order, all at once."""
        for each in self.workers.values():
            each.process.terminate()
        for each in self.workers.values():
            each.stop()

    def end(self) -> None:
        """Kill the workers, once what is broken is mended; nothing is broken, and nobody started, any more."""
        self.alone.acquire(timeout=_MENDED_S)
        self._is_over = True
        for each in self.workers.values():
            each.kill()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set everything up as long as this lasts, with the ``POSTROOM_`` settings of this process; no worker runs yet.

    Args:
        folder: for data and logs; an empty one.

    Raises:
        NoServer: there is no program for the servers.
        InvalidSettings: a setting cannot be read.
    """
    with ExitStack() as running:
        # What was answered is in the file: with `everysec` Redis holds writes back while it waits for the disk. And the
        # file is never written anew: what was written last is at its end.
        in_full = ("--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
        ledger_server = running.enter_context(server(folder / "ledger", *in_full))
        broker_server = running.enter_context(server(folder / "broker"))
        before = running.enter_context(proxy(ledger_server.port))
        relays = {name: running.enter_context(relay()) for name in ("first", "spare")}
        described = folder / "relays.toml"
        described.write_text(_RELAYS.format(**{name: each.before.port for name, each in relays.items()}))
        environment = {
            **DEFAULTS,
            **{name: value for name, value in os.environ.items() if name.startswith("POSTROOM_") and value},
            **OURS,
            "POSTROOM_REDIS_URL": before.url,
            "POSTROOM_BROKER_URL": broker_server.url,
            "POSTROOM_RELAYS": str(described.resolve()),
        }
        postroom = Postroom(Settings.from_environment(environment))
        running.callback(postroom.ledger.redis.close)
        redis, queues = (running.enter_context(Redis.from_url(each.url)) for each in (ledger_server, broker_server))
        made = Stage(folder, environment, ledger_server, broker_server, redis, queues, before, relays, postroom)
        running.callback(made.end)
        yield made
