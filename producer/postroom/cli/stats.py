"""Counting letters: ``postroom stats``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from postroom.cli import output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.filters import filters, query
from postroom.cli.look import TELL
from postroom.cli.tally import AGES_MIN, Tally
from postroom.ledger import Ledger
from postroom.ledger.query import Query
from postroom.ledger.views import counts, scan
from postroom.states import LetterState

_SAMPLE = 5_000
_TOP = 10
_WAITING = (LetterState.QUEUED, LetterState.SENDING, LetterState.DEFERRED)
_TROUBLED = (LetterState.DEFERRED, LetterState.HELD, LetterState.FAILED, LetterState.PARTIAL, LetterState.REJECTED)


@click.command()
@filters(tuple(LetterState))
@click.option(
    "--shape", is_flag=True, help="Who waits for how long: recipient domains by the age of letters, in minutes."
)
@click.option("--all", "everything", is_flag=True, help=f"Look at all letters, not at {_SAMPLE:,} of each state.")
@click.option("--top", default=_TOP, show_default=True, type=click.IntRange(1), help="Lines of each table.")
@json_option
@pass_desk
def stats(desk: Desk, /, shape: bool, everything: bool, top: int, as_json: bool, **options: Any) -> None:
    """Count letters, and tell why they wait or failed.

    By state, by what was said last, by relay, by reply code, by recipient domain.

    How many are in each state is known at once. What is said about them is counted in a sample of those that wait, are
    held or failed; with --all, or a filter other than --state, in all of them, tens of thousands a second.
    """
    asked = query(options, _WAITING if shape else LetterState)
    with output.console(stderr=True).status("counting"):
        tally = _tally(desk.ledger, asked, None if everything or asked.is_narrow else _SAMPLE, shape=shape)
    there = dict(tally.letters) if asked.is_narrow else counts(desk.ledger)
    numbers = {state: there.get(state, 0) for state in TELL if state in asked.states}
    if as_json:
        output.print_json(_shape_json(tally, top) if shape else _json(tally, numbers, top))
    elif shape:
        output.console().print(Group(_shape_view(tally, top), *_looked_at(tally, numbers)))
    else:
        output.console().print(_view(tally, numbers, top))


def _tally(ledger: Ledger, asked: Query, sample: int | None, *, shape: bool) -> Tally:
    tally, now_s = Tally(), ledger.now_ms() / 1000
    looked_at = asked.states if shape or asked.is_narrow else [each for each in asked.states if each in _TROUBLED]
    for state in looked_at:
        tally.add(filter(asked.is_met_by, islice(scan(ledger, state), sample)), now_s)
    return tally


def _json(tally: Tally, numbers: Mapping[LetterState, int], top: int) -> dict[str, Any]:
    return {
        "states": numbers,
        "looked_at": tally.letters.total(),
        "reasons": [
            {"state": state, "reason": reason, "letters": number}
            for (state, reason), number in tally.reasons.most_common(top)
        ],
        "relays": [{"relay": relay, "letters": number} for relay, number in tally.relays.most_common(top)],
        "codes": [{"code": code, "recipients": number} for code, number in tally.codes.most_common(top)],
        "domains": [{"domain": domain, "recipients": number} for domain, number in tally.domains.most_common(top)],
    }


def _shape_json(tally: Tally, top: int) -> dict[str, Any]:
    return {
        "looked_at": tally.letters.total(),
        "ages_min": [0, *AGES_MIN],
        "domains": [
            {"domain": domain, "recipients": number, "by_age": _by_age(tally.shape[domain])}
            for domain, number in tally.domains.most_common(top)
        ],
    }


def _by_age(ages: Counter[int]) -> list[int]:
    return [ages[place] for place in range(len(AGES_MIN) + 1)]


def _view(tally: Tally, numbers: Mapping[LetterState, int], top: int) -> Group:
    parts: list[RenderableType] = [_states(numbers)]
    if tally.reasons:
        parts += [Text(""), _reasons(tally, top)]
    if tally.relays:
        parts += [Text(""), _ranking("relay", tally.relays, top, "letters")]
    if tally.codes:
        parts += [Text(""), _ranking("reply code", tally.codes, top)]
    if tally.domains:
        parts += [Text(""), _ranking("domain", tally.domains, top)]
    return Group(*parts, *_looked_at(tally, numbers))


def _states(numbers: Mapping[LetterState, int]) -> Table:
    table = _numbered("letters", "state", "which")
    for state, number in numbers.items():
        name = output.state(state) if number else Text(state, "dim")
        table.add_row(Text(f"{number:,}", "" if number else "dim"), name, Text(TELL[state], "dim"))
    return table


def _reasons(tally: Tally, top: int) -> Table:
    table = _numbered("letters", "state", "what was said last")
    for (state, reason), number in tally.reasons.most_common(top):
        table.add_row(f"{number:,}", output.state(state), output.data(reason))
    return table


def _ranking(what: str, numbers: Counter[str], top: int, of: str = "not served") -> Table:
    table = _numbered(of, what)
    for name, number in numbers.most_common(top):
        table.add_row(f"{number:,}", output.data(name))
    return table


def _shape_view(tally: Tally, top: int) -> Table:
    table = output.columns("domain", "all", *(f"{age}" for age in AGES_MIN), f"{AGES_MIN[-1]}+")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    total = sum(tally.shape.values(), Counter[int]())
    table.add_row("all", *_shape_row(total), style="bold")
    for domain, _ in tally.domains.most_common(top):
        table.add_row(output.data(domain), *_shape_row(tally.shape[domain]))
    return table


def _shape_row(ages: Counter[int]) -> list[str]:
    return [f"{number}" if number else "·" for number in (ages.total(), *_by_age(ages))]


def _looked_at(tally: Tally, numbers: Mapping[LetterState, int]) -> Iterable[Text]:
    """Say so, if not all letters were looked at."""
    looked_at = {state: number for state, number in tally.letters.items() if number < numbers.get(state, 0)}
    for state, number in looked_at.items():
        yield Text(f"{number:,} of {output.count(numbers[state], f'{state} letter')} looked at; --all: all", "dim")


def _numbered(*names: str) -> Table:
    table = output.columns(*names)
    table.columns[0].justify, table.columns[0].no_wrap = "right", True
    return table
