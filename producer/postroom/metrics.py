"""The metrics: what each is called, told apart by, and means: the exporter, the docs and the dashboard agree on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Its labels take few values: states, outcomes, relays by their names; never a domain, or a text."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    what: str
    bounds: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets, in seconds."""


ATTEMPTS = Metric(
    "postroom_attempts",
    "counter",
    ("relay", "outcome"),
    "Attempts to deliver a letter, by the worst that any recipient met: accepted, refused, deferred, "
    "pause-relay (the relay was down; no fault of the letter) or uncertain.",
)
ANSWERS = Metric(
    "postroom_answers",
    "counter",
    ("relay", "outcome", "reason"),
    "What was met for each recipient. The reason is the phase, and the class and subject of the reply (RFC 3463), "
    "such as `rcpt 4xx 4.7.x`; or what was met in place of one, such as `connect no-connection`.",
)
ATTEMPT_SECONDS = Metric("postroom_attempt_seconds", "histogram", ("relay",), "How long attempts took.", _SECONDS[:11])
DELIVERY_SECONDS = Metric(
    "postroom_delivery_seconds",
    "histogram",
    ("relay", "queue"),
    "How long letters took from when they might first be sent (accepted, their `send_at`, or sent again by an "
    "operator) until they were sent, or sent in part; by the relay that took them last, and the queue.",
    _SECONDS,
)
UP = Metric("postroom_ledger_up", "gauge", (), "1 when the ledger answers; else no other metric is there.")
LETTERS = Metric("postroom_letters", "gauge", ("state",), "Letters in each state; `sending` are claims.")
DUE = Metric(
    "postroom_due_letters",
    "gauge",
    ("state",),
    "Letters whose time has come: scheduled and deferred ones that wait for the schedule to be looked at, queued ones "
    "whose bell counts as lost, and claims that ran out (`sending`).",
)
DUE_SECONDS = Metric(
    "postroom_due_seconds", "gauge", (), "How long a letter that is due has waited for the schedule to be looked at."
)
OLDEST_SECONDS = Metric(
    "postroom_oldest_seconds",
    "gauge",
    ("state",),
    "The age of the oldest letter that is queued or deferred, since it might first be sent: exact up to 500 letters in "
    "the state; beyond that the oldest of the first and last 50 of the schedule, and of 500 drawn by lot.",
)
RELAY_STATE = Metric(
    "postroom_relay_state",
    "gauge",
    ("relay", "state"),
    "1 for the state that a relay is in: closed (it serves), open (it is left alone), half-open (it is probed) or "
    "suspended (by an operator). The relays are those of all workers of the last hour, and those that were ever tried.",
)
RELAY_TRIPS = Metric("postroom_relay_trips", "gauge", ("relay",), "Times in a row that a relay was found down.")
RELAY_REFUSALS = Metric(
    "postroom_relay_refusals",
    "gauge",
    ("relay",),
    "Letters in a row that a relay refused with one and the same answer about us.",
)
RELAY_SESSIONS = Metric("postroom_relay_sessions", "gauge", ("relay",), "SMTP sessions of all workers with a relay.")
RELAY_SLOWED = Metric(
    "postroom_relay_slowed", "gauge", ("relay",), "Rates of a relay, of its own or of a domain there, lowered for now."
)
WORKERS = Metric("postroom_workers", "gauge", ("version",), "Workers that looked at the schedule just now.")
REDIS_BYTES = Metric("postroom_redis_memory_bytes", "gauge", ("node",), "Memory that Redis uses.")
REDIS_MAX_BYTES = Metric(
    "postroom_redis_memory_max_bytes", "gauge", ("node",), "Memory that Redis may use; 0: no limit."
)
REDIS_WRITE_ERRORS = Metric(
    "postroom_redis_write_errors", "gauge", ("node",), "Kinds of files that Redis could not write last time."
)

METRICS = (
    ATTEMPTS,
    ANSWERS,
    ATTEMPT_SECONDS,
    DELIVERY_SECONDS,
    UP,
    LETTERS,
    DUE,
    DUE_SECONDS,
    OLDEST_SECONDS,
    RELAY_STATE,
    RELAY_TRIPS,
    RELAY_REFUSALS,
    RELAY_SESSIONS,
    RELAY_SLOWED,
    WORKERS,
    REDIS_BYTES,
    REDIS_MAX_BYTES,
    REDIS_WRITE_ERRORS,
)


def table() -> str:
    """Return the table of all metrics, in Markdown, for the docs."""
    rows = ["| metric | kind | labels | what |", "| --- | --- | --- | --- |"]
    for each in METRICS:
        suffix = "_total" if each.kind == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.name}{suffix}` | {each.kind} | {labels} | {each.what} |")
    return "\n".join(rows) + "\n"
