"""Octets that are kept elsewhere, and how they are named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """Octets that are kept elsewhere, by their digest."""

    sha256: str
    """In hexadecimal, lower case."""
    size: int
    """In octets."""
