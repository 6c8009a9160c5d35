"""The webhooks that wait: made of the stream of events by a consumer group, and kept in a schedule of their own.

Of those who read, one gets an event; it is another's when nobody has said within a while what came of it. What is kept
has an id that follows from the event: so whatever is done twice, after a death in between, is there once.

Each receiver has a group and a schedule of its own, by its place in their list: one that is away holds up no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from postroom.ledger.availability import available
from postroom.ledger.events import Event, events_of
from postroom.ledger.record import text
from postroom.ledger.scripts import Call
from postroom.ledger.transitions import Ledger

KEPT = 50_000
"""Webhooks of a partition that wait for a receiver at most: a receiver that is away for days must not fill Redis."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the stream of events, as a member of the group has got it."""

    partition: int
    id: str
    event: Event


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be posted."""

    id: str
    """Follows from the event: whoever gets it twice can tell."""
    partition: int
    made_ms: int
    body: str
    attempts: int = 0
    place: int = 0
    """Of its receiver."""


def _group(place: int) -> str:
    return f"webhooks:{place}" if place else "webhooks"


def begin(ledger: Ledger, place: int = 0) -> None:
    """Have the group of a receiver read from now on, where it does not already: nothing that happens later is missed.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    for partition in range(ledger.keys.partitions):
        key = ledger.keys.events(partition)
        with available(), ledger.scripts.mending([key]):
            try:
                ledger.redis.xgroup_create(key, _group(place), id="$", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise


def read(ledger: Ledger, member: str, number: int, idle_ms: int, place: int = 0) -> list[Entry]:
    """Return events that nobody has read, and those that another member read and never told the end of.

    Args:
        ledger: where they are.
        member: who reads.
        number: how many of each partition, at most.
        idle_ms: how long another may take.
        place: of the receiver that it is read for.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    found = []
    for partition in range(ledger.keys.partitions):
        for entry_id, fields in _read(ledger, partition, member, number, idle_ms, place):
            if fields:  # one that was left by a member, and has made room in the stream since, has none
                found += [Entry(partition, text(entry_id), event) for event in events_of(fields)]
    return found


def _read(ledger: Ledger, partition: int, member: str, number: int, idle_ms: int, place: int) -> list[Any]:
    key, group = ledger.keys.events(partition), _group(place)
    with available(), ledger.scripts.mending([key]):
        try:
            answer: Any = ledger.redis.xautoclaim(key, group, member, idle_ms, count=number)
            fresh: Any = ledger.redis.xreadgroup(group, member, {key: ">"}, count=number)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            begin(ledger, place)  # Redis has lost it, with what was in the stream
            return []
    return [*answer[1], *(fresh[0][1] if fresh else ())]


def unread(ledger: Ledger, place: int = 0) -> int:
    """Return how many events of one partition are unread for a receiver, at the most; 0 where Redis (before 7) is mute.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    lags = [0]
    for partition in range(ledger.keys.partitions):
        with available():
            groups: Any = ledger.redis.xinfo_groups(ledger.keys.events(partition))
        lags += [int(each.get("lag") or 0) for each in groups if text(each["name"]) == _group(place)]
    return max(lags)


def keep(ledger: Ledger, partition: int, webhooks: Sequence[Webhook], read: Sequence[str], place: int = 0) -> int:
    """Keep webhooks, due at once, and tell the group that these entries are done; returns how many found no room.

    Raises:
        LedgerUnavailable: Redis is away: the entries are read again.
    """
    schedule, bodies = ledger.keys.webhooks_due(partition, place), ledger.keys.webhooks(partition, place)
    now_ms = ledger.now_ms()
    with available(), ledger.scripts.mending([schedule, bodies]):
        room = max(0, KEPT - int(ledger.redis.zcard(schedule)))
        pipeline = ledger.redis.pipeline(transaction=False)
        for each in webhooks[:room]:
            pipeline.hsetnx(bodies, each.id, msgspec.json.encode(each))
            pipeline.zadd(schedule, {each.id: now_ms}, nx=True)
        if read:
            pipeline.xack(ledger.keys.events(partition), _group(place), *read)
        pipeline.execute()
    return len(webhooks[room:])


def take(ledger: Ledger, lease_ms: int, number: int, place: int = 0) -> list[Webhook]:
    """Return webhooks that are due, at most so many of each partition; each is due again unless its end is told.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    calls = [
        Call(
            "take_webhooks",
            [ledger.keys.webhooks_due(each, place), ledger.keys.webhooks(each, place)],
            [lease_ms, number],
        )
        for each in range(ledger.keys.partitions)
    ]
    with available():
        answers = ledger.scripts.run_all(calls)
    return [msgspec.json.decode(each, type=Webhook) for answer in answers for each in answer]


def done(ledger: Ledger, webhook: Webhook) -> None:
    """Forget a webhook: it was taken, or given up.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        pipeline.zrem(ledger.keys.webhooks_due(webhook.partition, webhook.place), webhook.id)
        pipeline.hdel(ledger.keys.webhooks(webhook.partition, webhook.place), webhook.id)
        pipeline.execute()


def later(ledger: Ledger, webhook: Webhook, wait_ms: int) -> None:
    """Have a webhook posted again, so much later.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    due_ms = ledger.now_ms() + wait_ms
    with available():
        pipeline = ledger.redis.pipeline(transaction=False)
        kept = msgspec.json.encode(webhook).decode()
        pipeline.hset(ledger.keys.webhooks(webhook.partition, webhook.place), webhook.id, kept)
        pipeline.zadd(ledger.keys.webhooks_due(webhook.partition, webhook.place), {webhook.id: due_ms})
        pipeline.execute()


def waiting(ledger: Ledger, place: int = 0) -> int:
    """Return how many webhooks wait for a receiver.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    with available():
        schedules = [ledger.keys.webhooks_due(each, place) for each in range(ledger.keys.partitions)]
        return sum(int(ledger.redis.zcard(each)) for each in schedules)
