"""Real processes for the integration tests: one server for all, a database of it for each house."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from brokers import Broker, RabbitMQ, over_redis, rabbitmq, why_no_rabbitmq
from cluster import Nodes, cluster
from house import House, NewHouse, house
from postroom_worker.dev.server import Server, server

_DATABASES = 10_000
_BROKER = os.environ.get("POSTROOM_TEST_BROKER", "redis")
"""What carries the bells of all houses: ``redis`` or ``rabbitmq``."""
_LEDGER = os.environ.get("POSTROOM_TEST_LEDGER", "redis")
"""Where the ledgers of all houses are: ``redis``, or ``cluster`` of three nodes; their bells are in a Redis then."""

NewBroker = Callable[[], Broker | None]
"""Gives an empty broker, another one each time; None is the Redis of the house's ledger."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With another broker than the usual, only tests whose bells it carries tell anything new."""
    if _BROKER == "redis":
        return
    others = [each for each in items if "new_broker" not in getattr(each, "fixturenames", ())]
    config.hook.pytest_deselected(items=others)
    items[:] = [each for each in items if each not in others]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all houses share."""
    with server(tmp_path_factory.mktemp("redis"), "--databases", str(_DATABASES), "--appendonly", "no") as running:
        yield running


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """The cluster that all share whose ledger is on one."""
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def empty_redis(redis_server: Server) -> Callable[[], str]:
    """Gives the URL of an empty database of the one server, another one each time."""
    numbers = count(1)
    return lambda: redis_server.url.removesuffix("/0") + f"/{next(numbers)}"


@pytest.fixture(scope="session")
def empty_cluster(nodes: Nodes) -> Callable[[], str]:
    """Gives the URL of an empty database of the cluster, another one each time."""
    numbers = count(1)
    return lambda: nodes.url(next(numbers))


@pytest.fixture(scope="session")
def empty_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Gives where an empty ledger may be, another one each time."""
    found: Callable[[], str] = request.getfixturevalue("empty_cluster" if _LEDGER == "cluster" else "empty_redis")
    return found


@pytest.fixture
def redis_url(empty_database: Callable[[], str]) -> str:
    """An empty database."""
    return empty_database()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """The RabbitMQ that all houses share that have one."""
    if why := why_no_rabbitmq():
        pytest.skip(why)
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture(scope="session")
def new_broker(request: pytest.FixtureRequest) -> NewBroker:
    """Gives what carries the bells of a house."""
    if _BROKER == "rabbitmq":
        server: RabbitMQ = request.getfixturevalue("rabbitmq_server")
        return server.broker
    if _LEDGER == "cluster":
        empty_redis: Callable[[], str] = request.getfixturevalue("empty_redis")
        return lambda: over_redis(empty_redis())
    return lambda: None


@pytest.fixture(scope="session")
def shared(
    empty_database: Callable[[], str], new_broker: NewBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house whose worker runs already, for tests that leave it as they found it: each has recipients of its own."""
    with house(tmp_path_factory.mktemp("shared"), empty_database(), new_broker()) as found:
        found.worker()
        yield found


@pytest.fixture
def new_house(empty_database: Callable[[], str], new_broker: NewBroker, tmp_path: Path) -> Iterator[NewHouse]:
    """Sets up houses of a test's own, without a worker."""
    with ExitStack() as houses:

        def new(**settings: str) -> House:
            return houses.enter_context(house(tmp_path, empty_database(), new_broker(), **settings))

        yield new
