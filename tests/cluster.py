"""A Redis Cluster of three nodes, from the embedded server's program; with databases, as Valkey 9 has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis

from postroom import Settings
from postroom.ledger.cluster import Client, Cluster, primaries
from postroom.ledger.connection import connect
from postroom_worker.dev.server import Server, free_port, server, wait_until

_SLOTS = 16_384
DATABASES = 10_000


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a cluster that runs; each has a third of the slots, and no replica."""

    servers: tuple[Server, ...]

    def url(self, database: int = 0) -> str:
        """As POSTROOM_REDIS_URL has it."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.servers)
        return f"redis+cluster://{hosts}/{database}"

    def server_of(self, name: str) -> Server:
        """The node of this host and port."""
        return next(each for each in self.servers if name.endswith(f":{each.port}"))

    def wait_until_whole(self) -> None:
        """Wait until all nodes know that all slots are served."""
        for each in self.servers:
            wait_until(partial(_is_whole, each), f"the cluster is whole, as {each.port} sees it")


@contextmanager
def cluster(folder: Path, *options: str) -> Iterator[Nodes]:
    """Run a cluster as long as this lasts; it takes some three seconds to form.

    Args:
        folder: for the nodes' data.
        options: further options of the servers' command line.
    """
    with ExitStack() as running:
        nodes = Nodes(tuple(running.enter_context(_node(folder / f"node-{each}", *options)) for each in range(3)))
        edges = [_SLOTS * each // len(nodes.servers) for each in range(len(nodes.servers) + 1)]
        for place, node in enumerate(nodes.servers):
            _tell(node, "ADDSLOTSRANGE", edges[place], edges[place + 1] - 1)
            _tell(node, "SET-CONFIG-EPOCH", place + 1)
        for node in nodes.servers[1:]:
            _tell(nodes.servers[0], "MEET", "127.0.0.1", node.port, _bus(node))
        nodes.wait_until_whole()
        yield nodes


@contextmanager
def _node(folder: Path, *options: str) -> Iterator[Server]:
    # By default a node's own bus is 10,000 ports higher, where there may be none.
    own = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-databases", str(DATABASES))
    with server(folder, *own, *options) as running:
        yield running


def _bus(node: Server) -> str:
    return node.options[node.options.index("--cluster-port") + 1]


def _tell(node: Server, command: str, *arguments: Any) -> Any:
    with Redis(port=node.port) as redis:
        return redis.execute_command(f"CLUSTER {command}", *arguments)


def _is_whole(node: Server) -> bool:
    told = _tell(node, "INFO")
    return bool(told["cluster_state"] == "ok" and told["cluster_known_nodes"] == "3")


def all_keys(client: Client, pattern: str = "*") -> list[Any]:
    """All keys of a ledger, wherever they are."""
    return [key for each in primaries(client) for key in each.redis.keys(pattern)]


def partitions(found: Client) -> int:
    """Into how many partitions a ledger there is spread."""
    return 16 if isinstance(found, Cluster) else 1


@contextmanager
def client(url: str) -> Iterator[Any]:
    """A client of a ledger's Redis or cluster, as long as this lasts."""
    found = connect(Settings(redis_url=url))
    try:
        yield found
    finally:
        found.close()
