"""How things are shown: text from outside as data, states in their colours, times in words, objects as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from postroom.ledger import LetterStatus
from postroom.reply import printable
from postroom.states import LetterState, RecipientState

_UNCUT_WIDTH = 200
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
    """Return a console that takes no text for markup. Where no terminal sets its width, it is wide: a file has room."""
    plain = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not plain.is_terminal and "COLUMNS" not in plain._environ:
        plain.width = _UNCUT_WIDTH
    return plain
