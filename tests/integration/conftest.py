"""Real processes for the integration tests: one server for all, a database of it for each house."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from house import House, NewHouse, house
from postroom_worker.dev.server import Server, server

_DATABASES = 10_000


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all houses share."""
    with server(tmp_path_factory.mktemp("redis"), "--databases", str(_DATABASES), "--appendonly", "no") as running:
        yield running


@pytest.fixture(scope="session")
def empty_database(redis_server: Server) -> Callable[[], str]:
    """Gives the URL of an empty database, another one each time."""
    numbers = count(1)
    return lambda: redis_server.url.removesuffix("/0") + f"/{next(numbers)}"


@pytest.fixture
def redis_url(empty_database: Callable[[], str]) -> str:
    """An empty database."""
    return empty_database()


@pytest.fixture(scope="session")
def shared(empty_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose worker runs already, for tests that leave it as they found it: each has recipients of its own."""
    with house(tmp_path_factory.mktemp("shared"), empty_database()) as found:
        found.worker()
        yield found


@pytest.fixture
def new_house(empty_database: Callable[[], str], tmp_path: Path) -> Iterator[NewHouse]:
    """Sets up houses of a test's own, without a worker."""
    with ExitStack() as houses:

        def new(**settings: str) -> House:
            return houses.enter_context(house(tmp_path, empty_database(), **settings))

        yield new
