"""The figures of the ledger as they are now, for the metrics. Sizes, ranges and samples, never a walk over letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from postroom import metrics
from postroom.ledger import counts
from postroom.ledger.availability import available
from postroom.ledger.health import backlog, redis_facts
from postroom.ledger.record import text
from postroom.ledger.scripts import Call
from postroom.ledger.transitions import Ledger
from postroom.ledger.views import counts as letters_by_state
from postroom.ledger.workers import workers
from postroom.metrics import Metric
from postroom.states import LetterState

_SAMPLE = 500
_WAITING = (LetterState.SCHEDULED, LetterState.QUEUED, LetterState.SENDING, LetterState.DEFERRED)
_BREAKER = ("closed", "open", "half-open", "paused")

_packed = msgspec.msgpack.Decoder(list[tuple[str, str]])


class Figure(NamedTuple):
    """One number of a gauge."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def figures(ledger: Ledger, relays: set[str], rise_ms: int) -> Iterator[Figure]:
    """Yield all gauges of the ledger.

    Args:
        ledger: which.
        relays: the names of the relays to tell of.
        rise_ms: in how long a slowed rate doubles.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    yield from (Figure(metrics.LETTERS, (state,), number) for state, number in letters_by_state(ledger).items())
    yield from (Figure(metrics.DUE, (state,), _due(ledger, state)) for state in _WAITING)
    yield Figure(metrics.DUE_SECONDS, (), backlog(ledger).longest_due_ms / 1000)
    for state in (LetterState.QUEUED, LetterState.DEFERRED):
        yield Figure(metrics.OLDEST_SECONDS, (state,), _oldest_ms(ledger, state) / 1000)
    for relay in sorted(relays):
        yield from _of_relay(ledger, relay, rise_ms)
    here = [each.version for each in workers(ledger) if each.is_here]
    yield from (Figure(metrics.WORKERS, (version,), here.count(version)) for version in sorted(set(here)))
    for facts in redis_facts(ledger):
        yield Figure(metrics.REDIS_BYTES, (facts.node,), facts.memory_used)
        yield Figure(metrics.REDIS_MAX_BYTES, (facts.node,), facts.memory_max)
        yield Figure(metrics.REDIS_WRITE_ERRORS, (facts.node,), len(facts.write_errors))


def relays_of(counted: dict[counts.Series, int]) -> set[str]:
    """Return the relays that attempts were counted for."""
    return {series[1] for series in counted if series[0] == metrics.ATTEMPTS.name}


def _due(ledger: Ledger, state: LetterState) -> int:
    now_ms = ledger.now_ms()
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        for partition in range(ledger.keys.partitions):
            pipeline.zcount(ledger.keys.index(state, partition), "-inf", now_ms)
        return sum(pipeline.execute())


def _oldest_ms(ledger: Ledger, state: LetterState) -> int:
    """The age of the oldest letter in a state, as far as a sample tells."""
    now_ms, begins_ms = ledger.now_ms(), []
    for partition in range(ledger.keys.partitions):
        with available():
            some: Any = ledger.redis.zrandmember(
                ledger.keys.index(state, partition), max(1, _SAMPLE // ledger.keys.partitions)
            )
            keys = [ledger.keys.letter(text(each)) for each in some]
            packed = ledger.scripts.run(Call("look", keys, ("give_up_ms", "give_up_in_ms"))) if keys else b"\x90"
        # The time until a letter is given up counts from when it might first be sent.
        begins_ms += [int(until_ms) - int(in_ms) for until_ms, in_ms in _packed.decode(packed) if until_ms]
    return max(0, now_ms - min(begins_ms, default=now_ms))


def _of_relay(ledger: Ledger, relay: str, rise_ms: int) -> Iterator[Figure]:
    standing = ledger.relays.knock(relay, "", 0, rise_ms)
    yield from (Figure(metrics.RELAY_STATE, (relay, state), state == standing.state) for state in _BREAKER)
    yield Figure(metrics.RELAY_TRIPS, (relay,), standing.trips)
    yield Figure(metrics.RELAY_REFUSALS, (relay,), standing.refusals)
    yield Figure(metrics.RELAY_SESSIONS, (relay,), standing.sessions)
    yield Figure(metrics.RELAY_SLOWED, (relay,), len(standing.rates))
