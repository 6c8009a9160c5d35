"""Which letters an act is for: those that are named, or all that are in some states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import click

from postroom.ledger import Ledger, LetterStatus
from postroom.ledger.views import counts, letter_ids, listing, statuses
from postroom.states import LetterState

Chosen = Mapping[str, LetterState | None]
"""Letters by id, with the state that each still has to be in; one that was named may be in any."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator chose letters by: ids or states, one of the two."""

    ids: tuple[str, ...]
    states: tuple[LetterState, ...]

    @classmethod
    def of(cls, ids: tuple[str, ...], states: Iterable[str], possible: Collection[LetterState]) -> Choice:
        """Return the choice that these arguments make.

        Args:
            ids: the letters that were named.
            states: the states that were.
            possible: those that letters can be in for the act; if it is one, that one goes without saying.

        Raises:
            UsageError: it is not clear which letters are meant.
        """
        wanted = tuple(map(LetterState, states))
        if ids and wanted:
            raise click.UsageError("name letters, or give --state, not both")
        if not ids and not wanted:
            if len(possible) > 1:
                raise click.UsageError("which letters? name them by their ids, or give --state")
            wanted = tuple(possible)
        return cls(ids, wanted)

    def chosen(self, ledger: Ledger) -> Chosen:
        """Return the letters that are meant, now."""
        named: Chosen = dict.fromkeys(self.ids)
        return {**named, **{each: state for state in self.states for each in letter_ids(ledger, state)}}

    def preview(self, ledger: Ledger, possible: Collection[LetterState]) -> Preview:
        """Return what can be told of these letters without acting on them.

        Raises:
            UnknownLetter: one that was named is not there.
        """
        named = statuses(ledger, self.ids)
        fit = [each for each in named if each.state in possible]
        number = len(fit) + sum(counts(ledger)[state] for state in self.states)
        found = chain(fit, *(listing(ledger, state) for state in self.states))
        return Preview(number, found, [each for each in named if each.state not in possible])


@dataclass(frozen=True, slots=True)
class Preview:
    """Letters that somebody thinks of acting on."""

    number: int
    """How many it could be done to."""
    found: Iterator[LetterStatus]
    """Those, read from the ledger as they are asked for."""
    unfit: list[LetterStatus]
    """Those that were named, and that it cannot be done to."""


def counted(chosen: Chosen) -> str:
    """Return how many they are, by state: ``12 failed, 1 partial letters``."""
    of = Counter(chosen.values())
    numbers = ", ".join(f"{number:,} {state}" if state else f"{number:,}" for state, number in of.items())
    return f"{numbers} letter{'' if len(chosen) == 1 else 's'}"
