"""What happens to all letters, as it happens: ``postroom tail``."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import click
from rich.text import Text

from postroom.cli import output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.timeline import in_a_line
from postroom.ledger.events import Event, latest, read_on

_LINES = 10
_WAIT_MS = 1000


@click.command()
@click.option(
    "--lines", "-n", default=_LINES, show_default=True, type=click.IntRange(0), help="How many to begin with."
)
@click.option("--follow/--no-follow", "-f", default=True, show_default=True, help="Go on as letters are worked on.")
@json_option
@pass_desk
def tail(desk: Desk, /, lines: int, follow: bool, as_json: bool) -> None:
    """Print a line for each event of any letter, until Ctrl-C.

    The last events are kept, POSTROOM_EVENTS_MAX of them: what happened earlier is in each letter's history.
    """
    if not desk.postroom.settings.events_max:
        output.note("POSTROOM_EVENTS_MAX is 0 here: if the workers' is, too, nothing will come")
    events, places = latest(desk.ledger, lines)
    _print(events, as_json=as_json)
    with suppress(KeyboardInterrupt):
        while follow:
            events, places = read_on(desk.ledger, places, _WAIT_MS)
            _print(events, as_json=as_json)


def _print(events: Iterable[Event], *, as_json: bool) -> None:
    console = output.console()
    for each in events:
        if as_json:
            output.print_json({"id": each.letter_id, **each.event})
        else:
            # One line each: a terminal's is cut, a file's is not.
            console.print(line(each), no_wrap=True, overflow="ellipsis", soft_wrap=not console.is_terminal)


def line(event: Event) -> Text:
    """Return an event in one line: when, which letter, what happened."""
    when = output.moment(event.event["at_ms"] / 1000).partition(" ")[2]
    return Text.assemble((when, "dim"), "  ", output.data(event.letter_id), "  ", in_a_line(event.event))
