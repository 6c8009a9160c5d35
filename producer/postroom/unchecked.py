"""Frozen values made without the checks of their class, of what is known to pass them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def unchecked(kind: type[T], fields: Mapping[str, Any]) -> T:
    """Return an instance of a frozen dataclass without slots, with these fields; the others have their defaults.

    Slots would have to be filled one by one, which takes eight times as long.
    """
    made = object.__new__(kind)
    vars(made).update(fields)
    return made
