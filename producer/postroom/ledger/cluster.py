"""A ledger on Redis Cluster: which node has which key, and what becomes of commands while that changes.

redis-py's client knows the way to a key, and follows MOVED and ASK. Its pipelines do not run scripts; and when a node
has gone they try each command again by itself, with all its waits: so here is a pipeline that asks each node once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from postroom import clock

_PASSING = (
    RedisConnectionError,
    RedisTimeoutError,
    AskError,  # and MovedError
    TryAgainError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
)
_PAUSES_S = (0.05, 0.2, 0.5)
"""Before each repetition of what was not answered."""


class Cluster:
    """A client of a cluster, made at first use, since making one connects. Its commands are those of `RedisCluster`."""

    def __init__(self, connect: Callable[[], RedisCluster]) -> None:
        self._connect = connect
        self._client: RedisCluster | None = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        """Return a command of redis-py's client."""
        return getattr(self.client(), name)

    def client(self) -> RedisCluster:
        """Return redis-py's client.

        Raises:
            RedisClusterException: no node answers.
        """
        with self._lock:
            self._client = self._client or self._connect()
            return self._client

    def pipeline(self, *, transaction: bool = False) -> Pipeline:
        """Return a pipeline; there is no transaction over several nodes."""
        return Pipeline(self.client())

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._client:
                self._client.close()


Client: TypeAlias = Redis | Cluster
"""Where a ledger is: one Redis (or the primary that Sentinels name), or a cluster."""


@dataclass(frozen=True, slots=True)
class Primary:
    """A server that takes writes."""

    name: str
    """Its host and port in a cluster; empty for one Redis."""
    redis: Redis


def primaries(client: Client) -> list[Primary]:
    """Return the servers that a ledger's keys are on.

    Raises:
        RedisClusterException: no node of the cluster answers.
    """
    if not isinstance(client, Cluster):
        return [Primary("", client)]
    cluster: Any = client.client()
    return [Primary(node.name, cluster.get_redis_connection(node)) for node in cluster.get_primaries()]


def forget_connections(client: Client) -> None:
    """Connect anew for the next command, and look anew who has which key: those that were kept lead astray.

    Raises:
        RedisClusterException: no node of the cluster answers.
    """
    if isinstance(client, Cluster):
        client.client().nodes_manager.initialize()
    else:
        client.connection_pool.disconnect(inuse_connections=False)


@dataclass(frozen=True, slots=True)
class _Command:
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def key(self) -> Any:
        """The key that tells the node: of a script the first one; any will do for a command that has none."""
        place = 2 if self.name in ("eval", "evalsha") else 0
        return self.arguments[place] if self.arguments else ""

    def queue(self, pipeline: Any) -> None:
        getattr(pipeline, self.name)(*self.arguments, **self.options)


class Pipeline:
    """Commands that go to their nodes, in one round trip to each.

    What a node does not answer, or has not got any more, is asked for again where the cluster has it by then, some
    times. So no command may be in it that cannot be repeated.
    """

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster: Any = cluster  # redis-py's types are not whole
        self._commands: list[_Command] = []
        self._then: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return what queues a command: its first argument is its key, or it is a script, or it has no argument."""

        def queue(*arguments: Any, **options: Any) -> None:
            self._commands.append(_Command(name, arguments, options))

        return queue

    def execute_command(self, *then: Any) -> None:
        """Have this follow on each connection that is used, as last of all; its answer is the least of the nodes'."""
        self._then = then

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Return the answers in the order of the commands, errors among them unless they are raised."""
        commands, self._commands = self._commands, []
        answers: dict[int, Any] = {}
        thens: list[Any] = []
        left: Sequence[int] = range(len(commands))
        for pause_s in (*_PAUSES_S, None):
            for node, places in self._by_node(commands, left):
                *found, then = self._ask(node, [commands[place] for place in places])
                answers.update(zip(places, found, strict=True))
                if self._then and any(not isinstance(each, _PASSING) for each in found):
                    thens.append(then)
            left = [place for place in left if isinstance(answers[place], _PASSING)]
            if not left or pause_s is None:
                break
            clock.pause(pause_s)
            self._cluster.nodes_manager.initialize()
        in_order = [answers[place] for place in range(len(commands))]
        return _checked(in_order + _least(thens), raise_on_error=raise_on_error)

    def _by_node(self, commands: Sequence[_Command], places: Iterable[int]) -> list[tuple[ClusterNode, list[int]]]:
        found: dict[str, tuple[ClusterNode, list[int]]] = {}
        for place in places:
            node = self._cluster.get_node_from_key(commands[place].key)
            found.setdefault(node.name, (node, []))[1].append(place)
        return list(found.values())

    def _ask(self, node: ClusterNode, commands: Sequence[_Command]) -> list[Any]:
        """Answers to the commands, and to what follows."""
        pipeline: Any = self._cluster.get_redis_connection(node).pipeline(transaction=False)
        for command in commands:
            command.queue(pipeline)
        if self._then:
            pipeline.execute_command(*self._then)
        try:
            return [*pipeline.execute(raise_on_error=False), *([] if self._then else [None])]
        except (RedisConnectionError, RedisTimeoutError) as error:
            return [error] * (len(commands) + 1)


def _least(answers: Sequence[Any]) -> list[Any]:
    """The least of what nodes answered, number by number; an error of one is the error of all."""
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    return errors[:1] or ([[min(each) for each in zip(*answers, strict=True)]] if answers else [])


def _checked(answers: list[Any], *, raise_on_error: bool) -> list[Any]:
    for answer in answers:
        if raise_on_error and isinstance(answer, Exception):
            raise answer
    return answers
