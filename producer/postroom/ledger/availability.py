"""What redis-py raises becomes the one error that callers know, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from postroom.errors import LedgerUnavailable
from postroom.reply import printable

_ALERTS = {
    "used memory > 'maxmemory'": "Redis is full: raise its maxmemory, or purge letters that are over",
    "MISCONF": "Redis cannot write to its disk: see its own log",
    "unknown command": "Redis is too old: it has to be 6.2 or later, and 7.2 for POSTROOM_DURABILITY=synced",
    "max number of clients": "Redis takes no more connections: raise its maxclients",
    "Cluster mode is not enabled": "Redis is no cluster: begin POSTROOM_REDIS_URL with redis:// or rediss://",
}
_PASSING = {
    "read only replica": "Redis is a replica, and takes no writes",
    "MASTER is down": "Redis is a replica that has lost its primary",
    "loading the dataset": "Redis is still loading its data",
    "BUSY": "Redis is busy with a script",
    "cluster is down": "a part of the Redis Cluster is away, and the rest takes no commands",
    "slot not served": "a part of the Redis Cluster is away",
    "cannot be connected": "no node of the Redis Cluster answers",
    "No master found": "no Sentinel answers that knows the primary: see POSTROOM_REDIS_URL",
    "during rehashing of slot": "a slot of the Redis Cluster is on its way to another node",
}
"""By what Redis says; older versions put more around it."""


@contextmanager
def available(letter_id: str | None = None) -> Iterator[None]:
    """Turn what redis-py raises into the one error that callers know.

    Raises:
        LedgerUnavailable: in place of any error of redis-py.
    """
    try:
        yield
    except LedgerUnavailable as error:
        error.letter_id = error.letter_id or letter_id
        raise
    except (RedisError, RedisClusterException) as error:
        alert = _alert(error)
        about = f"; letter {letter_id} may have been accepted, and sending it again under its id is safe"
        problem = f"{alert or _passing(error)}{about if letter_id else ''}"
        raise LedgerUnavailable(problem, letter_id, is_alert=bool(alert)) from error


def is_fault(said: object) -> bool:
    """True for the error of a Redis that is well: a script of ours, or a value that it met, is not, and stays so."""
    if type(said) is not ResponseError or _alert(said) or _found(_PASSING, said):
        return False
    # What Redis says of its own state begins with a code (NOREPLICAS, CLUSTERDOWN); of a script, ERR, which is cut off.
    code = str(said).partition(" ")[0]
    return code == "WRONGTYPE" or not code.isupper()


def _alert(error: Exception) -> str:
    """Say what only an operator can mend; empty for what may pass by itself."""
    if isinstance(error, NoPermissionError):
        return f"Redis forbids our user what we need ({printable(str(error), 200)}): see its ACL"
    if isinstance(error, AuthenticationError):
        return "Redis refuses our user or password: see POSTROOM_REDIS_URL"
    return _found(_ALERTS, error)


def _passing(error: Exception) -> str:
    if isinstance(error, MovedError):
        return "Redis is one node of a cluster: begin POSTROOM_REDIS_URL with redis+cluster:// or rediss+cluster://"
    told = printable(str(error), 200)
    if "connecting to" in told:
        return f"Redis is not to be reached ({told}): start it, or see POSTROOM_REDIS_URL"
    return _found(_PASSING, error) or f"Redis did not answer as it should ({told})"


def _found(words: dict[str, str], error: Exception) -> str:
    return next((say for said, say in words.items() if said in str(error)), "")
