"""The ledger's Lua scripts: each file of ``lua/`` is one verb. They are loaded when Redis does not know them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from itertools import repeat
from typing import Any

import msgpack
import msgspec
from redis import Redis
from redis.connection import DefaultParser
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from postroom.ledger.ahead import ahead
from postroom.ledger.cluster import Client, forget_connections, primaries
from postroom.ledger.damaged import note_damaged
from postroom.ledger.keys import Keys

log = logging.getLogger("postroom")

Argument = str | bytes | int
_parser: Any = DefaultParser

_NO_PRIMARY = (ReadOnlyError, MasterDownError)
_TO_REPEAT = (NoScriptError, *_NO_PRIMARY)
_MENDED_AT_MOST = 2
"""A script that Redis did not know may meet a key of the wrong type when it is sent in whole."""
_BATCH = 128
"""Calls that one run of a script makes at most: nobody else is served meanwhile."""


class Call(msgspec.Struct, frozen=True):
    """One call of a verb. All calls of a verb have as many keys, and as many arguments."""

    verb: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


class _Batch(msgspec.Struct, frozen=True):
    """Calls of one verb that one run of its script makes, by their places."""

    verb: str
    places: Sequence[int]
    keys: Sequence[str]
    """Those of all calls, each once."""
    packed: bytes
    """Of each call its keys, as places among those, and its arguments: Redis takes one large value sooner than many."""

    @classmethod
    def of(cls, calls: Sequence[Call], places: Sequence[int]) -> _Batch:
        keys: dict[str, int] = {}
        packed = [
            (
                [keys.setdefault(key, len(keys) + 1) for key in calls[place].keys],
                [str(each) if isinstance(each, int) else each for each in calls[place].arguments],
            )
            for place in places
        ]
        return cls(calls[places[0]].verb, places, list(keys), msgpack.packb(packed, use_bin_type=False))

    def answers(self, packed: bytes) -> list[Any]:
        """Return the answer to each call; an error is what redis-py makes of it."""
        return [_unpacked(each) for each in msgpack.unpackb(packed, raw=True)]


@lru_cache
def source(verb: str, events_max: int = 0, *, may_exceed_memory: bool = False) -> str:
    """Return the whole text of a script: the verb between prelude and epilogue.

    Args:
        verb: the file's name without ``.lua``.
        events_max: how many events the stream of each partition keeps, about; 0 for no stream.
        may_exceed_memory: mark it, on Redis 7 and later, to go on when memory is full. A full Redis has to refuse new
            letters and still take what became of the old ones.
    """
    folder = files("postroom.ledger") / "lua"
    own = (folder / f"{verb}.lua").read_text()
    flags = "#!lua flags=allow-oom\n" if may_exceed_memory and "-- room     not needed" in own else ""
    bounds = f"local events_max = {events_max:d}\n"
    prelude, epilogue = ((folder / f"{name}.lua").read_text() for name in ("prelude", "epilogue"))
    return f"{flags}{bounds}{prelude}local function verb(KEYS, ARGV)\n{own}end\n{epilogue}"


@dataclass(slots=True)
class Scripts:
    """Runs scripts by their digest, and in whole whenever Redis lost them (restart, failover, SCRIPT FLUSH)."""

    redis: Client
    events_max: int = 0
    """How many events the stream of each partition keeps, about; 0 for no stream."""
    _shebang: bool | None = field(default=None)

    def run(self, call: Call) -> Any:
        """Run one script and return its answer."""
        return self.run_all([call])[0]

    def run_all(self, calls: Sequence[Call], then: Sequence[Argument] = ()) -> list[Any]:
        """Run scripts as `run_each` does, and raise the first error."""
        answers = self.run_each(calls, then)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def begin(self, calls: Sequence[Call]) -> Callable[[], list[Any]]:
        """Send what `run_all` sends, and return what waits for it: until then Redis works, and so may the caller.

        What cannot be sent ahead (to the nodes of a cluster), or is not answered well, `run_all` sends when it is
        waited for: every script may be run again.
        """
        batches = _batches(calls)
        sent: Iterator[list[Any]] = iter(())
        if isinstance(self.redis, Redis):
            with suppress(RedisError):
                sent = ahead(self.redis, [self._command(each) for each in batches])
                next(sent)

        def wait() -> list[Any]:
            with suppress(RedisError):
                answers = _in_order(batches, next(sent, []))
                if len(answers) == len(calls) and not any(isinstance(each, Exception) for each in answers):
                    return answers
            return self.run_all(calls)

        return wait

    def run_each(self, calls: Sequence[Call], then: Sequence[Argument] = ()) -> list[Any]:
        """Run scripts in one round trip, once for all calls of a verb; return answers, or errors, in order.

        Every script is idempotent: those that Redis did not know, could not run where it is no primary any more, or
        that met a key of the wrong type, which is put aside, are run again; the others are not. A call that fails does
        not hinder the others.

        Args:
            calls: what to run.
            then: a command that follows on the same connection; its answer is the last.
        """
        batches = _batches(calls)
        answers = self._round_trip(batches, then)
        for _ in range(_MENDED_AT_MOST):
            left = [place for place, answer in enumerate(answers[: len(calls)]) if _is_worth_another(answer)]
            if not left:
                break
            self._mend([(calls[place], answers[place]) for place in left])
            again = self._round_trip(_batches([calls[place] for place in left]), then, is_whole=True)
            for place, answer in zip(left, again, strict=False):
                answers[place] = answer
            answers[len(calls) :] = again[len(left) :]
        return answers

    def _mend(self, failed: Sequence[tuple[Call, Exception]]) -> None:
        if any(isinstance(error, _NO_PRIMARY) for _, error in failed):
            # After a failover the connections that were kept lead to what is a replica now: they do not break.
            forget_connections(self.redis)
        self.put_aside(key for call, error in failed if is_wrong_type(error) for key in call.keys)

    def put_aside(self, keys: Iterable[str]) -> None:
        """Give other names to those of these keys that hold another type than theirs: somebody has overwritten them.

        What is tried again then succeeds; it would fail for ever otherwise, and those that wait behind it with it.
        """
        types = {each: kind for key in keys for each in Keys.beside(key) if (kind := Keys.type_of(each))}
        calls = [Call("put_aside", [key], [kind]) for key, kind in types.items()]
        for answer in self._round_trip(_batches(calls), is_whole=True) if calls else ():
            if isinstance(answer, Exception):
                raise answer
            for key, kind in zip(*[map(bytes.decode, answer)] * 2, strict=True):
                note_damaged(self.redis, key)
                log.error(
                    "%s held a %s, which is none of Postroom's: it is now %s, and the key begins empty. "
                    "See who else writes to this Redis",
                    key,
                    kind,
                    Keys.put_aside(key),
                )

    @contextmanager
    def mending(self, keys: Iterable[str]) -> Iterator[None]:
        """Put those of these keys aside that are of another type, when a command says so; it is raised all the same."""
        try:
            yield
        except ResponseError as error:
            if is_wrong_type(error):
                self.put_aside(keys)
            raise

    def _round_trip(
        self, batches: Sequence[_Batch], then: Sequence[Argument] = (), *, is_whole: bool = False
    ) -> list[Any]:
        """Answers in the order of the calls, and that of the command that follows.

        What Redis does not know yet is known from when the whole script was sent.
        """
        if len(batches) == 1 and not then:
            try:
                return batches[0].answers(self._send(self.redis, batches[0], is_whole=is_whole))
            except ResponseError as error:
                return [error for _ in batches[0].places]
        pipeline: Any = self.redis.pipeline(transaction=False)
        for batch in batches:
            self._send(pipeline, batch, is_whole=is_whole)
        if then:
            pipeline.execute_command(*then)
        said: list[Any] = pipeline.execute(raise_on_error=False)
        return _in_order(batches, said) + said[len(batches) :]

    def _send(self, to: Any, batch: _Batch, *, is_whole: bool) -> Any:
        text = self._source(batch.verb)
        run, script = (to.eval, text) if is_whole else (to.evalsha, _digest(text))
        return run(script, len(batch.keys), *batch.keys, batch.packed)

    def _command(self, batch: _Batch) -> list[Argument]:
        return ["EVALSHA", _digest(self._source(batch.verb)), len(batch.keys), *batch.keys, batch.packed]

    def _source(self, verb: str) -> str:
        if self._shebang is None:
            versions = [str(each.redis.info("server").get("redis_version", "0")) for each in primaries(self.redis)]
            self._shebang = all(int(version.split(".")[0]) >= 7 for version in versions)
        return source(verb, self.events_max, may_exceed_memory=self._shebang)


def _in_order(batches: Sequence[_Batch], said: Sequence[Any]) -> list[Any]:
    """What was said of each batch, as answers in the order of the calls."""
    answers: dict[int, Any] = {}
    for batch, answer in zip(batches, said, strict=False):
        each = repeat(answer) if isinstance(answer, Exception) else batch.answers(answer)
        answers.update(zip(batch.places, each, strict=False))
    return [answers[place] for place in sorted(answers)]


def _unpacked(answer: Any) -> Any:
    if isinstance(answer, dict):
        return _parser.parse_error(answer[b"err"].decode("utf-8", "replace"))
    return None if answer is False else answer


def is_wrong_type(answer: object) -> bool:
    """True for the error of a command that met a key of another type than it is for."""
    return isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer)


def _is_worth_another(answer: object) -> bool:
    return isinstance(answer, _TO_REPEAT) or is_wrong_type(answer)


def _batches(calls: Sequence[Call]) -> list[_Batch]:
    """The calls by verb and by slot of a cluster."""
    alike: dict[tuple[str, str], list[int]] = {}
    for place, call in enumerate(calls):
        alike.setdefault((call.verb, call.keys[0].partition("}")[0]), []).append(place)
    return [
        _Batch.of(calls, places[first : first + _BATCH])
        for places in alike.values()
        for first in range(0, len(places), _BATCH)
    ]


@lru_cache
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
