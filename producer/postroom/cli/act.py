"""Acting on letters: ``postroom retry``, ``flush``, ``cancel``, ``hold``, ``release`` and ``purge``.

An act on letters that were named is done at once; one on all letters in a state first says how many they are, and asks.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import click
from rich.progress import track

from postroom import operate
from postroom.cli import output
from postroom.cli.desk import Desk, LetterId, json_option, pass_desk
from postroom.cli.look import letters_view
from postroom.errors import TooLate, UnknownLetter
from postroom.ledger import Bell, Ledger
from postroom.ledger.views import letter_ids, status, statuses
from postroom.sending import ring
from postroom.states import LetterState

_TOLD_MAX = 10


class Verb(Protocol):
    """What `postroom.operate` does to one letter."""

    def __call__(
        self, ledger: Ledger, letter_id: str, *, by: str, reason: str, only_in: LetterState | None
    ) -> Bell | None: ...


@dataclass(frozen=True, slots=True)
class Act:
    """One of the commands."""

    name: str
    do: Verb
    states: frozenset[LetterState]
    """The letters it can be done to."""
    done: str
    """What was done to them, after "letters"."""
    what: str
    """What will be done to them, after "letters"."""
    help: str
    is_final: bool = False
    """It cannot be undone: it asks for letters that were named, too."""

    @property
    def only_state(self) -> LetterState | None:
        """The state of its letters, when there is just one."""
        return next(iter(self.states)) if len(self.states) == 1 else None


_ACTS = (
    Act(
        "retry",
        operate.retry,
        operate.RETRIABLE,
        "retried",
        "to be sent again, now, and only to recipients that did not get them",
        "Send letters again, now, to the recipients that did not get them, and only to those.",
    ),
    ...
)
