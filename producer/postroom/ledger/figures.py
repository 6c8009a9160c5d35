"""The figures of the ledger as they are now, for the metrics. Sizes, ranges and samples, never a walk over letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from postroom import metrics
from postroom.ledger import counts
from postroom.ledger.availability import available
from postroom.ledger.health import backlog, redis_facts
from postroom.ledger.record import text
from postroom.ledger.scripts import Call
from postroom.ledger.suspensions import current
from postroom.ledger.transitions import Ledger
from postroom.ledger.views import counts as letters_by_state
from postroom.ledger.workers import relays, workers
from postroom.metrics import Metric
from postroom.states import LetterState

_DRAWN = 500
_AT_EACH_END = 50
_STATES = ("closed", "open", "half-open", "suspended")

_packed = msgspec.msgpack.Decoder(list[tuple[str, str]])


class Figure(NamedTuple):
    """One number of a gauge."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def figures(ledger: Ledger, counted: Mapping[counts.Series, int], rise_ms: int) -> Iterator[Figure]:
    """Yield all gauges of the ledger.

    Args:
        ledger: which.
        counted: what workers have counted: with their own, it names the relays to tell of.
        rise_ms: in how long a slowed rate doubles.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    yield from (Figure(metrics.LETTERS, (state,), number) for state, number in letters_by_state(ledger).items())
    overdue = backlog(ledger)
    yield from (Figure(metrics.DUE, (state,), number) for state, number in overdue.due.items())
    yield Figure(metrics.DUE_SECONDS, (), overdue.longest_due_ms / 1000)
    for state in (LetterState.QUEUED, LetterState.DEFERRED):
        yield Figure(metrics.OLDEST_SECONDS, (state,), _oldest_ms(ledger, state) / 1000)
    suspended = {each.name for each in current(ledger)[0] if each.kind == "relay"}
    for relay in sorted(_met(counted) | relays(ledger)):
        yield from _of_relay(ledger, relay, rise_ms, is_suspended=relay in suspended)
    here = [each.version for each in workers(ledger) if each.is_here]
    yield from (Figure(metrics.WORKERS, (version,), here.count(version)) for version in sorted(set(here)))
    for facts in redis_facts(ledger):
        yield Figure(metrics.REDIS_BYTES, (facts.node,), facts.memory_used)
        yield Figure(metrics.REDIS_MAX_BYTES, (facts.node,), facts.memory_max)
        yield Figure(metrics.REDIS_WRITE_ERRORS, (facts.node,), len(facts.write_errors))


def _met(counted: Mapping[counts.Series, int]) -> set[str]:
    """The relays that attempts were counted for."""
    return {series[1] for series in counted if series[0] == metrics.ATTEMPTS.name}


def _oldest_ms(ledger: Ledger, state: LetterState) -> int:
    """The age of the oldest letter in a state, as far as some of them tell.

    Those at both ends of the schedule are among them: at its beginning is what no worker takes, at its end what waits
    for long because it was tried often.
    """
    now_ms, begins_ms = ledger.now_ms(), []
    drawn, at_each_end = (max(1, each // ledger.keys.partitions) for each in (_DRAWN, _AT_EACH_END))
    for partition in range(ledger.keys.partitions):
        index = ledger.keys.index(state, partition)
        with available():
            pipeline: Any = ledger.redis.pipeline(transaction=False)
            pipeline.zrandmember(index, drawn)
            pipeline.zrange(index, 0, at_each_end - 1)
            pipeline.zrange(index, -at_each_end, -1)
            keys = [ledger.keys.letter(text(each)) for each in chain.from_iterable(pipeline.execute())]
            packed = ledger.scripts.run(Call("look", keys, ("give_up_ms", "give_up_in_ms"))) if keys else b"\x90"
        # The time until a letter is given up counts from when it might first be sent.
        begins_ms += [int(until_ms) - int(in_ms) for until_ms, in_ms in _packed.decode(packed) if until_ms]
    return max(0, now_ms - min(begins_ms, default=now_ms))


def _of_relay(ledger: Ledger, relay: str, rise_ms: int, *, is_suspended: bool) -> Iterator[Figure]:
    standing = ledger.relays.standing(relay, rise_ms)
    now = "suspended" if is_suspended else standing.state
    yield from (Figure(metrics.RELAY_STATE, (relay, state), state == now) for state in _STATES)
    yield Figure(metrics.RELAY_TRIPS, (relay,), standing.trips)
    yield Figure(metrics.RELAY_REFUSALS, (relay,), standing.refusals)
    yield Figure(metrics.RELAY_SESSIONS, (relay,), standing.sessions)
    yield Figure(metrics.RELAY_SLOWED, (relay,), len(standing.rates))
