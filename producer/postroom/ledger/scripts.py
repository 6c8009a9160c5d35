"""The ledger's Lua scripts: each file of ``lua/`` is one verb. They are loaded when Redis does not know them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    verb: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


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
    """Runs scripts by their digest, and loads them again whenever Redis lost them (restart, failover, SCRIPT FLUSH)."""

    redis: Redis
    events_max: int = 0
    """How many events the stream of each partition keeps, about; 0 for no stream."""
    _shebang: bool | None = field(default=None)

    def run(self, call: Call) -> Any:
        """Run one script and return its answer."""
        return self.run_all([call])[0]

    def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip and return their answers in order.

        Every script is idempotent: one that Redis did not know is loaded and run again, the others are not.
        """
        answers = self._round_trip(calls)
        missing = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            for verb in {calls[place].verb for place in missing}:
                self.redis.script_load(self._source(verb))
            again = self._round_trip([calls[place] for place in missing])
            for place, answer in zip(missing, again, strict=True):
                answers[place] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _round_trip(self, calls: Sequence[Call]) -> list[Any]:
        if len(calls) == 1:
            call = calls[0]
            try:
                return [self.redis.evalsha(self._digest(call.verb), len(call.keys), *call.keys, *call.arguments)]
            except NoScriptError as error:
                return [error]
        pipeline = self.redis.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(self._digest(call.verb), len(call.keys), *call.keys, *call.arguments)
        return pipeline.execute(raise_on_error=False)

    def _source(self, verb: str) -> str:
        if self._shebang is None:
            version = str(self.redis.info("server").get("redis_version", "0"))
            self._shebang = int(version.split(".")[0]) >= 7
        return source(verb, self.events_max, may_exceed_memory=self._shebang)

    def _digest(self, verb: str) -> str:
        return _digest(self._source(verb))


@lru_cache
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def is_full(error: Exception) -> bool:
    """True when Redis refused a write because its memory is full."""
    return isinstance(error, OutOfMemoryError)
