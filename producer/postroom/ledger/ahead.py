"""Commands that are sent before their answers are waited for: Redis works meanwhile, and so does the caller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError


def ahead(redis: Redis, commands: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Send commands at the first ``next``, and give their answers, errors of Redis among them, at the second.

    Nobody else gets the connection between, and nobody ever again if the answers are not taken.

    Raises:
        RedisError: Redis is away; at either.
    """
    pool: Any = redis.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        yield []
        answers = [_answer(connection) for _ in commands]
    finally:
        pool.release(connection)
    yield answers


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
