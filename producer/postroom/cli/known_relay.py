"""The name of a relay, as an argument: the workers tell the ledger which relays they have."""

from __future__ import annotations

import click

from postroom.cli.desk import Desk
from postroom.errors import InvalidLetter
from postroom.keywords import word
from postroom.ledger.workers import relays


def known_relay(desk: Desk, name: str) -> str:
    """Return the name of a relay, if it can be one.

    Raises:
        UsageError: it is no name, or the workers have others.
    """
    try:
        word(name, "RELAY")
    except InvalidLetter as error:
        raise click.UsageError(str(error)) from None
    there = relays(desk.ledger)
    if there and name not in there:
        raise click.UsageError(f"no worker has a relay named {name!r}; there are {', '.join(sorted(there))}")
    return name
