"""The name of a relay, as an argument: the workers tell the ledger which relays they have."""

from __future__ import annotations

import click

from postroom.cli.desk import Desk
from postroom.ledger.workers import relays


def known_relay(desk: Desk, name: str) -> str:
    """Return the name of a relay, if it can be one.

    Raises:
        UsageError: the workers have others.
    """
    there = relays(desk.ledger)
    if there and name not in there:
        raise click.UsageError(f"no worker has a relay named {name!r}; there are {', '.join(sorted(there))}")
    return name
