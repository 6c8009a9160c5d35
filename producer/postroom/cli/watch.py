"""A live screen of the whole office: ``postroom watch``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from postroom import clock
from postroom.cli import output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.look import TELL
from postroom.cli.tail import line
from postroom.ledger import Ledger
from postroom.ledger.events import Event, latest
from postroom.ledger.health import Backlog, backlog
from postroom.ledger.suspensions import Suspension, current
from postroom.ledger.views import counts
from postroom.ledger.workers import Worker, relays, workers
from postroom.states import LetterState

_EVENTS = 10
_LONG_MS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there was to see at one moment."""

    at_ms: int
    states: Mapping[LetterState, int]
    backlog: Backlog
    workers: tuple[Worker, ...]
    suspensions: tuple[Suspension, ...]
    relays_down: Mapping[str, str]
    """The relays that the workers leave alone, and why."""
    events: tuple[Event, ...]


@click.command()
@click.option("--interval", "interval_s", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds.")
@click.option("--times", default=0, type=click.IntRange(0), help="How many looks; by default until Ctrl-C.")
@json_option
@pass_desk
def watch(desk: Desk, /, interval_s: float, times: int, as_json: bool) -> None:
    """Watch letters come and go on a live screen.

    With --json it prints a line for each look.
    """
    with suppress(KeyboardInterrupt):
        if as_json:
            for each in _looks(desk.ledger, interval_s, times):
                output.print_json(each)
            return
        console, before = output.console(), None
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            for each in _looks(desk.ledger, interval_s, times):
                live.update(screen_view(each, before), refresh=True)
                before = each
        if not console.is_terminal:
            console.print()  # where there is no screen to leave, the last line is to end


def _looks(ledger: Ledger, interval_s: float, times: int) -> Iterator[Look]:
    for number in count(1):
        yield Look(
            at_ms=ledger.now_ms(),
            states=counts(ledger),
            backlog=backlog(ledger),
            workers=tuple(workers(ledger)),
            suspensions=tuple(current(ledger)[0]),
            relays_down=_relays_down(ledger),
            events=tuple(latest(ledger, _EVENTS)[0]),
        )
        if number == times:
            return
        clock.pause(interval_s)


def _relays_down(ledger: Ledger) -> dict[str, str]:
    standings = {name: ledger.relays.standing(name) for name in sorted(relays(ledger))}
    return {name: standing.why for name, standing in standings.items() if standing.state == "open"}


def screen_view(now: Look, before: Look | None) -> Group:
    """Return what is shown of a look.

    Args:
        now: this look.
        before: the one before, to tell how fast numbers change.
    """
    events = [line(each) for each in now.events]
    for each in events:
        each.no_wrap, each.overflow = True, "ellipsis"
    return Group(_facts(now), Text(""), _states(now, before), Text(""), *events)


def _facts(now: Look) -> Table:
    facts = output.grid()
    facts.add_row("At", output.moment(now.at_ms / 1000))
    here = [each.name for each in now.workers if each.is_here]
    facts.add_row(
        "Workers", output.data(f"{len(here)}: {', '.join(here)}") if here else Text("none is here", "bold red")
    )
    facts.add_row("Longest in queue", _waited(now.backlog.longest_queued_ms))
    facts.add_row("Longest overdue", _waited(now.backlog.longest_due_ms))
    for name, why in now.relays_down.items():
        facts.add_row("Relay down", output.data(f"{name}: {why}", "bold red"))
    for each in now.suspensions:
        facts.add_row("Suspended", output.data(str(each), "yellow"))
    return facts


def _waited(ms: int) -> Text:
    return Text(output.span(ms / 1000) if ms else "-", "bold red" if ms >= _LONG_MS else "")


def _states(now: Look, before: Look | None) -> Table:
    table = output.columns("letters", "a second", "state", "which")
    table.columns[0].justify = table.columns[1].justify = "right"
    for state, tell in TELL.items():
        number = now.states[state]
        name = output.state(state) if number else Text(state, "dim")
        table.add_row(f"{number:,}" if number else Text("0", "dim"), _rate(now, before, state), name, Text(tell, "dim"))
    return table


def _rate(now: Look, before: Look | None, state: LetterState) -> str:
    if before is None or now.at_ms <= before.at_ms:
        return ""
    rate = (now.states[state] - before.states[state]) * 1000 / (now.at_ms - before.at_ms)
    return f"{rate:+,.0f}" if round(rate) else ""
