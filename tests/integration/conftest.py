"""Real processes for the integration tests: one server for all, a database of it for each house."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from house import House, NewHouse, house
from postroom_worker.dev.server import Server, server

_DATABASES = 10_000
_numbers = count(1)


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    """Whatever POSTROOM_ variables the shell holds, tests do not see them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("POSTROOM_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all houses share."""
    with server(tmp_path_factory.mktemp("redis"), "--databases", str(_DATABASES), "--appendonly", "no") as running:
        yield running


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """An empty database."""
    return _empty_database(redis_server)


@pytest.fixture(scope="session")
def shared(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose worker runs already, for tests that leave it as they found it: each has recipients of its own."""
    with house(tmp_path_factory.mktemp("shared"), _empty_database(redis_server)) as found:
        found.worker()
        yield found


@pytest.fixture
def new_house(redis_server: Server, tmp_path: Path) -> Iterator[NewHouse]:
    """Sets up houses of a test's own, without a worker."""
    with ExitStack() as houses:

        def new(**settings: str) -> House:
            return houses.enter_context(house(tmp_path, _empty_database(redis_server), **settings))

        yield new


def _empty_database(redis_server: Server) -> str:
    return redis_server.url.removesuffix("/0") + f"/{next(_numbers)}"
