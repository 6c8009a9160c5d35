"""What a reply, or its absence, means: a table (``replies.csv``) and the pure function that reads it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files

import msgspec

from postroom.reply import Reply


class Phase(StrEnum):
    """Where a reply was met."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    IDLE = "idle"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    CONTENT = "content"
    PROGRAM = "program"
    """A run of a local program, in place of a session."""


class Silence(StrEnum):
    """What was met in place of a reply."""

    NO_HOST = "no-host"
    NO_CONNECTION = "no-connection"
    NOT_OFFERED = "not-offered"
    TLS_ERROR = "tls-error"
    NO_TOKEN = "no-token"  # noqa: S105
    CONNECTION_LOST = "connection-lost"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"


class Outcome(StrEnum):
    """What it means."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    RECONNECT = "reconnect"
    PAUSE_RELAY = "pause-relay"


class Scope(StrEnum):
    """What the outcome applies to."""

    RECIPIENT = "recipient"
    LETTER = "letter"
    SESSION = "session"
    RELAY = "relay"


class Hint(StrEnum):
    """What else it says."""

    NOTHING = ""
    LESS = "less"
    """It is too much for them: the rate is lowered for a while."""
    US = "us"
    """It is about us, not about the letter."""


class Answer(msgspec.Struct, frozen=True):
    """What was met, and where."""

    phase: Phase
    met: Reply | Silence
    detail: str = ""
    """In words, for a silence: what happened."""

    def __str__(self) -> str:
        if isinstance(self.met, Reply):
            return str(self.met)
        return f"{self.met} at {self.phase}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table."""

    phase: str
    code: str
    enhanced: str
    outcome: Outcome
    scope: Scope
    alert: bool
    """An operator has to act: trying again alone will not mend it."""
    why: str
    hint: Hint = Hint.NOTHING


@lru_cache
def table() -> tuple[Row, ...]:
    """Return the table, in order: the first row that matches wins."""
    return tuple(_rows())


def _rows() -> Iterator[Row]:
    text = (files("postroom_worker") / "replies.csv").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for row in csv.DictReader(lines):
        yield Row(
            row["phase"],
            row["code"],
            row["enhanced"],
            Outcome(row["outcome"]),
            Scope(row["scope"]),
            row["alert"] == "yes",
            row["why"],
            Hint(row["hint"] or ""),
        )


def outcome(answer: Answer) -> Row:
    """Return what an answer means: the first row of the table that matches it.

    A positive reply that no row of its phase expects, such as 250 to DATA, says nothing: it counts as malformed.
    """
    code, enhanced = _key(answer.met)
    return _outcome(answer.phase, code, enhanced)


def _key(met: Reply | Silence) -> tuple[str, str]:
    return (str(met.code), met.enhanced) if isinstance(met, Reply) else (met.value, "")


@lru_cache(maxsize=4096)
def _outcome(phase: Phase, code: str, enhanced: str) -> Row:
    for row in table():
        if row.phase in (phase, "*") and _matches(row.code, code) and _matches(row.enhanced, enhanced):
            return row
    return _outcome(phase, Silence.MALFORMED, "")


def _matches(pattern: str, text: str) -> bool:
    """True when the pattern fits: ``x`` stands for a digit, or for a whole number between dots; ``*`` for anything."""
    if pattern == "*":
        return True
    want, have = pattern.split("."), text.split(".")
    return len(want) == len(have) and all(_same(*each) for each in zip(want, have, strict=True))


def _same(want: str, have: str) -> bool:
    if want == "x":
        return have.isdecimal()
    return len(want) == len(have) and all(w in (h, "x") for w, h in zip(want, have, strict=True))
