"""How things are shown: text from outside as data, states in their colours, times in words, values as JSON."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from postroom.reply import printable
from postroom.states import LetterState, RecipientState

_UNCUT = (200, 25)
_DATA_MAX = 500
_NOTE_MAX = 2000
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_STYLES: dict[str, str] = {
    LetterState.SCHEDULED: "cyan",
    LetterState.QUEUED: "blue",
    LetterState.SENDING: "bright_blue",
    LetterState.DEFERRED: "yellow",
    LetterState.HELD: "bold magenta",
    LetterState.SENT: "green",
    LetterState.PARTIAL: "bold yellow",
    LetterState.FAILED: "bold red",
    LetterState.CANCELLED: "dim",
    LetterState.REJECTED: "bold red",
    RecipientState.PENDING: "blue",
    RecipientState.ACCEPTED: "green",
    RecipientState.REFUSED: "bold red",
    RecipientState.EXPIRED: "bold red",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes no text for markup. What goes to a file or a pipe has room, and is hardly cut."""
    width = shutil.get_terminal_size(_UNCUT).columns
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def data(text: str, style: str = "", *, limit: int = _DATA_MAX) -> Text:
    """Return text from outside, to be shown as it is: no markup, no terminal escapes, and not without end."""
    return Text(printable(text, limit), style)


def state(of: LetterState | RecipientState) -> Text:
    """Return a state in its colour."""
    return Text(of, _STYLES.get(of, ""))


def columns(*names: str) -> Table:
    """Return an empty table with these columns, headed in capitals; what does not fit goes below, nothing is cut."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name.upper(), overflow="fold")
    return table


def grid() -> Table:
    """Return an empty table of two columns without heads: what it is, and the thing."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def span(seconds: float) -> str:
    """Return a span of time in its largest whole unit: ``42s``, ``3m``, ``5h``, ``2d``."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "0s"


def moment(since_1970_s: float) -> str:
    """Return a moment in this machine's time zone: ``2026-07-31 14:03:11``."""
    return f"{datetime.fromtimestamp(since_1970_s, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def zone(since_1970_s: float) -> str:
    """Return the name of this machine's time zone at that moment."""
    return f"{datetime.fromtimestamp(since_1970_s, UTC).astimezone():%Z}"


def count(number: int, noun: str = "letter") -> str:
    """Return a number with its noun: ``1 letter``, ``1,200 letters``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_json(value: Any) -> None:
    """Print a value as JSON on one line; in ASCII, so that any terminal and any locale can take it."""
    click.echo(json.dumps(msgspec.to_builtins(value)))


def note(text: str) -> None:
    """Tell the operator something, beside what was asked for: on stderr."""
    click.echo(printable(text, _NOTE_MAX), err=True)
