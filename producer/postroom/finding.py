"""Findings: what an examination of the installation comes to, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and may not when it matters."""
    BAD = "bad"
    """Letters wait, or can be lost."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """What it is about: ``redis``, ``workers``, ``dkim``."""
    level: Level
    what: str
    """What was found; holds no secret."""
    remedy: str = ""
    """What to do about it; empty when it is well."""


def ok(area: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(area, Level.OK, what)


def warn(area: str, what: str, remedy: str) -> Finding:
    """Return that something may fail when it matters."""
    return Finding(area, Level.WARN, what, remedy)


def bad(area: str, what: str, remedy: str) -> Finding:
    """Return that letters wait, or can be lost."""
    return Finding(area, Level.BAD, what, remedy)
