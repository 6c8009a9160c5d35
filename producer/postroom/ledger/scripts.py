"""The ledger's Lua scripts: each file of ``lua/`` is one verb. They are loaded when Redis does not know them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError

Argument = str | bytes | int

_NO_PRIMARY = (ReadOnlyError, MasterDownError)


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    verb: str
    keys: Sequence[str]
    arguments: Sequence[Argument]
    is_whole: bool = False
    """True when the whole script is sent: what is not known yet is known from then on."""


@lru_cache
def source(verb: str, events_max: int = 0, *, may_exceed_memory: bool = False) -> str:
    """Return the whole text of a script, the prelude in front.

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
    return flags + bounds + (folder / "prelude.lua").read_text() + own


@dataclass(slots=True)
class Scripts:
    """Runs scripts by their digest, and in whole whenever Redis lost them (restart, failover, SCRIPT FLUSH)."""

    redis: Redis
    events_max: int = 0
    """How many events the stream of each partition keeps, about; 0 for no stream."""
    _shebang: bool | None = field(default=None)

    def run(self, call: Call) -> Any:
        """Run one script and return its answer."""
        return self.run_all([call])[0]

    def run_all(self, calls: Sequence[Call], then: Sequence[Argument] = ()) -> list[Any]:
        """Run scripts in one round trip and return their answers in order.

        Every script is idempotent: those that Redis did not know, or could not run where it is no primary any more,
        are run again; the others are not.

        Args:
            calls: what to run.
            then: a command that follows on the same connection; its answer is the last.
        """
        answers = self._round_trip(calls, then)
        left = [place for place in range(len(calls)) if isinstance(answers[place], (NoScriptError, *_NO_PRIMARY))]
        if left:
            if any(isinstance(answers[place], _NO_PRIMARY) for place in left):
                # After a failover the connections that were kept lead to what is a replica now: they do not break.
                self.redis.connection_pool.disconnect(inuse_connections=False)
            again = self._round_trip([replace(calls[place], is_whole=True) for place in left], then)
            for place, answer in zip(left, again, strict=False):
                answers[place] = answer
            answers[len(calls) :] = again[len(left) :]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _round_trip(self, calls: Sequence[Call], then: Sequence[Argument] = ()) -> list[Any]:
        if len(calls) == 1 and not then:
            try:
                return [self._send(self.redis, calls[0])]
            except (NoScriptError, *_NO_PRIMARY) as error:
                return [error]
        pipeline = self.redis.pipeline(transaction=False)
        for call in calls:
            self._send(pipeline, call)
        if then:
            pipeline.execute_command(*then)  # type: ignore[no-untyped-call]  # redis-py has no types for it
        return pipeline.execute(raise_on_error=False)

    def _send(self, to: Redis, call: Call) -> Any:
        text = self._source(call.verb)
        run, script = (to.eval, text) if call.is_whole else (to.evalsha, _digest(text))
        return run(script, len(call.keys), *call.keys, *call.arguments)

    def _source(self, verb: str) -> str:
        if self._shebang is None:
            version = str(self.redis.info("server").get("redis_version", "0"))
            self._shebang = int(version.split(".")[0]) >= 7
        return source(verb, self.events_max, may_exceed_memory=self._shebang)


@lru_cache
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
