"""What facts about Redis, the queue and the workers mean for letters. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from postroom.cli.output import moment, span
from postroom.cli.timeline import what_was_said
from postroom.finding import Finding, bad, ok, warn
from postroom.ledger.events import Event
from postroom.ledger.health import Backlog, RedisFacts
from postroom.ledger.keys import Keys
from postroom.ledger.relays import Standing
from postroom.ledger.suspensions import Suspension
from postroom.ledger.workers import Worker
from postroom.reply import gist
from postroom.states import LetterState

_OLDEST = (6, 2)
_MENDED: Mapping[str, Mapping[tuple[int, int], int]] = {
    "redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
"""The first releases, by series, without CVE-2025-49844 and its like: whoever may send commands could run code."""
_NEARLY_FULL = 0.75
_CLOCK_WARN_MS, _CLOCK_BAD_MS = 2_000, 60_000
_QUEUED_LONG_MS = 60_000
_DUE_LONG_MS = 30_000
_LATELY_MS = 900_000
_MISSED_MIN, _MISSED_PART = 5, 0.5
"""How many of the latest attempts reached nobody, and which part of them, when somebody should look."""
_NAMED_MAX = 3
_MIB = 1024 * 1024


def of_redis(facts: RedisFacts, memory_part: float = 1.0) -> Iterator[Finding]:
    """Yield what Redis's own words mean: version, persistence, eviction, memory.

    Args:
        facts: what it says.
        memory_part: the part of its memory beyond which no new letter is taken.
    """
    yield _version(facts)
    yield from _persistence(facts)
    yield _eviction(facts)
    yield _memory(facts, memory_part)


def _version(facts: RedisFacts) -> Finding:
    name = f"{facts.server.capitalize()} {'.'.join(map(str, facts.version))}"
    series = facts.version[:2]
    mended = _MENDED[facts.server].get((series[0], series[1])) if len(series) == 2 else None
    if series < _OLDEST:
        return bad("redis", f"{name} is too old", "use Redis 6.2 or later, or Valkey")
    if mended is not None and facts.version[2:] < (mended,):
        fixed = f"{series[0]}.{series[1]}.{mended}"
        return warn(
            "redis", f"{name} has a known hole in its scripts (CVE-2025-49844)", f"update it to {fixed} or later"
        )
    return ok("redis", name)


def _persistence(facts: RedisFacts) -> Iterator[Finding]:
    if not facts.is_append_only:
        yield bad(
            "persistence",
            "there is no append-only file: letters are lost when Redis restarts",
            "CONFIG SET appendonly yes, and the same in its configuration",
        )
    elif facts.fsync == "no":
        yield warn(
            "persistence",
            "the append-only file is synced when the system likes: a power loss can cost half a minute of letters",
            "CONFIG SET appendfsync everysec, or always",
        )
    else:
        cost = {"always": "nothing", "everysec": "up to two seconds"}.get(facts.fsync, "what appendfsync allows")
        yield ok("persistence", f"append-only file; a power loss can cost {cost} of letters")
    if facts.write_errors:
        yield bad(
            "persistence",
            f"Redis could not write to its disk ({', '.join(facts.write_errors)})",
            "look at its log: is the disk full, or not its own?",
        )


def _eviction(facts: RedisFacts) -> Finding:
    if facts.eviction == "noeviction":
        return ok("eviction", "noeviction: a full Redis refuses new letters, and keeps the old ones")
    remedy = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration"
    if facts.memory_max:
        return bad("eviction", f"{facts.eviction}: a full Redis removes letters without a word", remedy)
    return warn("eviction", f"{facts.eviction}: harmless only while Redis has no limit of memory", remedy)


def _memory(facts: RedisFacts, most: float) -> Finding:
    used = f"{facts.memory_used // _MIB:,} MiB used"
    if not facts.memory_max:
        remedy = "CONFIG SET maxmemory to some 70 % of what it may have: full, it then refuses, and is not killed"
        return warn("memory", f"{used}, and no limit: the machine's memory is the limit", remedy)
    part = facts.memory_used / facts.memory_max
    told = f"{used} of {facts.memory_max // _MIB:,} ({part:.0%})"
    remedy = "raise maxmemory; or purge, or set POSTROOM_KEEP_SENT_S or POSTROOM_EVENTS_MAX lower"
    if part >= most:
        return bad("memory", f"{told}: new letters are refused beyond {most:.0%} (POSTROOM_MEMORY_PART)", remedy)
    return warn("memory", told, remedy) if part >= _NEARLY_FULL else ok("memory", told)


def of_clocks(redis_ms: int, ours_ms: int) -> Finding:
    """Return what the difference between two clocks means."""
    apart = span(abs(redis_ms - ours_ms) / 1000)
    remedy = "let both machines follow a time server (NTP)"
    if abs(redis_ms - ours_ms) >= _CLOCK_BAD_MS:
        return bad(
            "clock", f"this machine and Redis are {apart} apart: letters are dated and scheduled wrongly", remedy
        )
    if abs(redis_ms - ours_ms) >= _CLOCK_WARN_MS:
        return warn("clock", f"this machine and Redis are {apart} apart", remedy)
    return ok("clock", "this machine and Redis agree")


def of_backlog(backlog: Backlog) -> Iterator[Finding]:
    """Yield what waits for longer than it should."""
    if backlog.longest_due_ms >= _DUE_LONG_MS:
        since = span(backlog.longest_due_ms / 1000)
        yield bad(
            "schedule",
            f"a letter has been due for {since}: no worker looks at the schedule",
            "start a worker: celery -A postroom_worker worker; if one runs, look at its log",
        )
    else:
        yield ok("schedule", "nothing is overdue")
    if backlog.longest_queued_ms >= _QUEUED_LONG_MS:
        since = span(backlog.longest_queued_ms / 1000)
        yield warn(
            "queue",
            f"the first letter of the queue has waited for {since}",
            "if workers are at work there are too few of them: start more, or raise --concurrency",
        )


def of_damaged(keys: Sequence[str]) -> Iterator[Finding]:
    """Yield which keys of the ledger somebody else had overwritten."""
    if keys:
        more = f" and {len(keys) - _NAMED_MAX:,} more" if len(keys) > _NAMED_MAX else ""
        yield warn(
            "damaged",
            f"somebody else wrote to keys of the ledger, and these were put aside: "
            f"{', '.join(map(Keys.put_aside, keys[:_NAMED_MAX]))}{more}",
            "see who else uses this Redis, and give it another; then look at these, and DEL them",
        )


def of_suspensions(found: Sequence[Suspension], now_ms: int) -> Iterator[Finding]:
    """Yield what operators let wait, lest somebody forgot it."""
    for each in found:
        still = f" for {span((each.until_ms - now_ms) / 1000)} more" if each.until_ms else ""
        since = span((now_ms - each.at_ms) / 1000)
        remedy = f"if that is over: postroom resume --{each.kind} {each.name}"
        yield warn("suspended", f"{each}; since {since}{still}", remedy)


def of_relays(standings: Mapping[str, Standing]) -> Iterator[Finding]:
    """Yield which relays the workers leave alone."""
    for name, standing in sorted(standings.items()):
        if standing.state == "open":
            left = span(standing.left_ms / 1000)
            yield bad(
                "relay",
                f"{name} does not serve since {moment(standing.since_ms / 1000)}, and is left alone by all workers for "
                f"{left} more: {standing.why}",
                f"mend it, then postroom resume --relay {name}; or send through another: postroom retry --relay",
            )


def of_attempts(events: Sequence[Event], now_ms: int) -> Iterator[Finding]:
    """Yield how the latest attempts fared: that workers work, and relays let us in, does not mean that letters arrive.

    Args:
        events: the latest, of all letters.
        now_ms: Redis's time, in milliseconds since 1970.
    """
    told = [each.event for each in events if each.event["event"] == "attempt" and not each.event.get("cut")]
    attempts = [each for each in told if each["at_ms"] > now_ms - _LATELY_MS]
    missed = [each for each in attempts if each["state"] not in (LetterState.SENT, LetterState.PARTIAL)]
    if len(missed) < max(_MISSED_MIN, _MISSED_PART * len(attempts)):
        if attempts:
            yield ok("attempts", f"{len(attempts) - len(missed):,} of the last {len(attempts):,} reached somebody")
        return
    [(why, times)] = Counter(gist(what_was_said(each)) for each in missed).most_common(1)
    since = moment(min(each["at_ms"] for each in missed) / 1000)
    are_refused = any(each["state"] == LetterState.FAILED for each in missed)
    yield (bad if are_refused else warn)(
        "attempts",
        f"{len(missed):,} of the last {len(attempts):,} reached nobody, since {since}; {times:,} of them: {why}",
        "postroom stats has all reasons; a campaign at fault is stopped by postroom suspend --tag; "
        + ("mended, postroom retry --state failed" if are_refused else "they are tried again by themselves"),
    )


def of_workers(found: Sequence[Worker], version: str) -> Iterator[Finding]:
    """Yield what is known of the workers.

    Args:
        found: those that signed in lately.
        version: ours.
    """
    here = [each for each in found if each.is_here]
    if not here:
        yield bad("workers", "no worker is here", "start one: celery -A postroom_worker worker")
    for each in found:
        if each not in here:
            since = span(each.seen_ms_ago / 1000)
            yield warn(
                "workers",
                f"{each.name} was not seen for {since}",
                "it was killed, hangs, or cannot reach Redis or the broker",
            )
        elif each.version != version:
            yield warn(
                "workers",
                f"{each.name} is Postroom {each.version}, this is {version}",
                "update the older one; workers first, then those who send",
            )
        else:
            yield ok("workers", f"{each.name}, Postroom {each.version}")


def of_probe(queue: str, waiting: int, *, answered: bool, timeout_s: float, worked: bool) -> Finding:
    """Return what it means whether a task that was put on a queue was done.

    Args:
        queue: its name.
        waiting: how many bells were in it before.
        answered: whether the task was done in time.
        timeout_s: seconds that were waited for it.
        worked: whether something happened to any letter meanwhile.
    """
    if answered:
        return ok("work", f"what is put on the queue {queue} is done")
    if worked:
        return warn(
            "work",
            f"a task on the queue {queue} was not done in {timeout_s:g} s, behind {waiting:,} others; letters move",
            "nothing, if that is a campaign; else start more workers",
        )
    return bad(
        "work",
        f"a task on the queue {queue} was not done in {timeout_s:g} s, and no letter moved: nobody consumes it",
        "start a worker that serves this queue (no -Q, or with it); restart one that answers and does nothing",
    )
