"""The broker of a house, and what a test asks of it: how many bells wait, and to lose them."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote
from urllib.request import Request, urlopen

from kombu import Connection
from redis import Redis

from postroom.broker import BULK_QUEUE, QUEUE, celery_settings
from postroom.ledger.cluster import Client
from postroom_worker.dev.server import dying_with_parent, wait_until

QUEUES = (QUEUE, BULK_QUEUE)
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""What Debian's package calls as a user of its own; we are whoever runs the tests."""
_START_S = 90


class Broker(Protocol):
    """Where bells wait."""

    @property
    def url(self) -> str:
        """Where it is."""

    def waiting(self) -> int:
        """How many bells wait, or are with a worker that has not acknowledged them."""

    def lose(self) -> int:
        """Lose the bells that wait, and return how many there were."""

    def end(self) -> None:
        """Be no more, when its house is no more."""


@dataclass(frozen=True, slots=True)
class OverRedis:
    """The bells are in Redis, most often beside the ledger."""

    redis: Client
    url: str

    def waiting(self) -> int:
        """As `Broker.waiting`."""
        return sum([*(self.redis.llen(queue) for queue in QUEUES), self.redis.hlen("unacked")])

    def lose(self) -> int:
        """As `Broker.lose`."""
        before = self.waiting()
        self.redis.delete(*QUEUES)
        return before - self.waiting()

    def end(self) -> None:
        """As `Broker.end`: its database costs nothing."""


def over_redis(url: str) -> OverRedis:
    """Return what carries bells in a Redis."""
    return OverRedis(Redis.from_url(url), url)


@dataclass(frozen=True, slots=True)
class OverRabbitMQ:
    """The bells are in a virtual host of RabbitMQ."""

    server: RabbitMQ
    name: str

    @property
    def url(self) -> str:
        """As `Broker.url`."""
        return f"amqp://guest:guest@127.0.0.1:{self.server.port}/{self.name}"

    def waiting(self) -> int:
        """As `Broker.waiting`. Those that are with a worker are counted a tick of the queue later."""
        with self._queues() as queues:
            ready = sum(queue.queue_declare().message_count for queue in queues)
        found = self.server.ask("GET", f"queues/{self.name}?disable_stats=true&enable_queue_totals=true")
        return int(ready) + sum(int(each.get("messages_unacknowledged", 0)) for each in found)

    def lose(self) -> int:
        """As `Broker.lose`."""
        with self._queues() as queues:
            return sum(int(queue.queue_declare() and queue.purge()) for queue in queues)

    def end(self) -> None:
        """As `Broker.end`: each of its queues would go on to tick, and with a hundred of them nothing else is done."""
        with suppress(OSError):  # the server may have been killed
            self.server.ask("DELETE", f"vhosts/{self.name}")

    @contextmanager
    def _queues(self) -> Iterator[list[Any]]:
        with Connection(self.url) as connection:
            yield [queue.bind(connection.default_channel) for queue in celery_settings(self.url, 5)["task_queues"]]

    def refuse(self) -> None:
        """Have the queues take nothing any more: what is put on one is nacked."""
        definition = {"max-length": 0, "overflow": "reject-publish"}
        self.server.ask("PUT", f"policies/{self.name}/full", {"pattern": ".*", "definition": definition})

    def take_again(self) -> None:
        """As before."""
        self.server.ask("DELETE", f"policies/{self.name}/full")

    def drop_connections(self) -> None:
        """Have the server end all connections."""
        for each in self.server.ask("GET", f"vhosts/{self.name}/connections"):
            self.server.ask("DELETE", f"connections/{quote(each['name'])}")


@dataclass(slots=True)
class RabbitMQ:
    """A server of our own."""

    folder: Path
    port: int
    api_port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def broker(self) -> OverRabbitMQ:
        """Make a virtual host, another one each time."""
        found = OverRabbitMQ(self, f"house-{next(self._numbers)}")
        self.ask("PUT", f"vhosts/{found.name}")
        return found

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask its management interface."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.api_port}/api/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Basic {base64.b64encode(b'guest:guest').decode()}")
        with urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"null")

    def start(self) -> None:
        """Start it, with the data that are there."""
        with (self.folder / "server.log").open("ab") as out:
            self.process = subprocess.Popen(
                [_PROGRAM],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=dying_with_parent(),
            )
        wait_until(self._answers, f"RabbitMQ answers; its log is {self.folder / 'server.log'}", _START_S)

    def stop(self) -> None:
        """Stop it, in order: killed, it does not find queues again that were just declared."""
        assert self.process
        self.process.terminate()
        self.process.wait(_START_S)

    def kill(self) -> None:
        """Stop it as kill -9 does."""
        if self.process and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "server.log").read_text("utf-8", "replace")[-2000:]
        try:
            self.ask("GET", "overview")
            with Connection(f"amqp://guest:guest@127.0.0.1:{self.port}//", connect_timeout=5) as connection:
                connection.connect()
        except OSError:
            return False
        return True


def _free_ports(number: int) -> list[int]:
    """Return free ports that the system gives to nobody by itself: the server listens only seconds later."""
    found = []
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found.append(port)
    return found[:number]


def why_no_rabbitmq() -> str:
    """Return why there can be no server here; empty when there can."""
    return "" if _PROGRAM.exists() and shutil.which("epmd") else "needs Debian's package rabbitmq-server"


@contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Run a server as long as this lasts: a node of its own, on free ports of the loopback interface.

    Args:
        folder: for its data, log and configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, api_port, node_port, names_port = _free_ports(4)
    (folder / "plugins").write_text("[rabbitmq_management].\n")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {api_port}\n"
        "disk_free_limit.absolute = 1MB\n"
        "raft.wal_max_size_bytes = 16000000\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"postroom-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(node_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        # One thread that sleeps when idle; queues tell their numbers at once, not every five seconds.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none "
        "-rabbit quorum_tick_interval 100",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names_port),
    }
    # The server would start this one (it knows nodes by their names) as a daemon that outlives us.
    with subprocess.Popen(
        ["epmd", "-address", "127.0.0.1", "-port", str(names_port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=dying_with_parent(signal.SIGKILL),
    ) as names:
        running = RabbitMQ(folder, port, api_port, environment)
        try:
            running.start()
            yield running
        finally:
            running.kill()
            names.kill()
