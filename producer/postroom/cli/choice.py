"""Which letters an act is for: those that are named, or all that a query finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import click

from postroom.cli import filters
from postroom.ledger import Ledger, LetterStatus
from postroom.ledger.query import Query
from postroom.ledger.views import counts, listing, scan, statuses
from postroom.states import LetterState


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator chose letters by: ids or a query, one of the two."""

    ids: tuple[str, ...]
    query: Query | None

    @classmethod
    def of(cls, ids: tuple[str, ...], options: Mapping[str, Any], possible: Collection[LetterState]) -> Choice:
        """Return the choice that these arguments make.

        Args:
            ids: the letters that were named.
            options: what others are chosen by: see `filters`.
            possible: the states that letters can be in for the act; if it is one, it goes without saying.

        Raises:
            UsageError: it is not clear which letters are meant.
        """
        is_filtered = any(options.values())
        if ids and is_filtered:
            raise click.UsageError("name letters, or choose them by --state and other options, not both")
        if ids:
            return cls(tuple(dict.fromkeys(ids)), None)
        if not is_filtered and len(possible) > 1:
            raise click.UsageError("which letters? name them by their ids, or give --state or another filter")
        return cls((), filters.query(options, sorted(possible)))

    def in_words(self) -> str:
        """Return what letters are chosen by."""
        return filters.in_words(self.query) if self.query else " ".join(self.ids)

    def numbers(self, ledger: Ledger) -> Counter[LetterState | None]:
        """Return how many they are, by state; of those that are named no state is known."""
        if self.query is None:
            return Counter({None: len(self.ids)})
        if self.query.is_narrow:
            return Counter(letter.state for letter in _found(ledger, self.query))
        there = counts(ledger)
        return Counter({state: there[state] for state in self.query.states if there[state]})

    def letters(self, ledger: Ledger, asked_ms: int) -> Iterator[tuple[str, LetterState | None]]:
        """Yield their ids, each with the state that it still has to be in; one that was named may be in any.

        Args:
            ledger: where they are recorded.
            asked_ms: when the operator was asked, by Redis's clock: what a query finds that came later is left alone.
        """
        yield from ((letter_id, None) for letter_id in self.ids)
        if self.query:
            asked_about = replace(self.query, before_ms=self.query.before_ms or asked_ms + 1)
            yield from ((letter.id, letter.state) for letter in _found(ledger, asked_about))

    def preview(self, ledger: Ledger, possible: Collection[LetterState]) -> Preview:
        """Return what can be told of these letters without acting on them.

        Raises:
            UnknownLetter: one that was named is not there.
        """
        if self.query:
            letters = chain.from_iterable(listing(ledger, state) for state in self.query.states)
            return Preview(self.numbers(ledger).total(), filter(self.query.is_met_by, letters), [])
        named = statuses(ledger, self.ids)
        fit = [each for each in named if each.state in possible]
        return Preview(len(fit), iter(fit), [each for each in named if each.state not in possible])


@dataclass(frozen=True, slots=True)
class Preview:
    """Letters that somebody thinks of acting on."""

    number: int
    """How many it could be done to."""
    found: Iterator[LetterStatus]
    """Those, read from the ledger as they are asked for."""
    unfit: list[LetterStatus]
    """Those that were named, and that it cannot be done to."""


def _found(ledger: Ledger, query: Query) -> Iterator[LetterStatus]:
    return filter(query.is_met_by, chain.from_iterable(scan(ledger, state) for state in query.states))


def counted(numbers: Counter[LetterState | None]) -> str:
    """Return how many they are, by state: ``12 failed, 1 partial letters``."""
    told = ", ".join(f"{number:,} {state}" if state else f"{number:,}" for state, number in numbers.items())
    return f"{told} letter{'' if numbers.total() == 1 else 's'}"
