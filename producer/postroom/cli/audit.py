"""What operators did: ``postroom audit``."""

from __future__ import annotations

from itertools import islice

import click
from rich.text import Text

from postroom.cli import output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.ledger.audit import Audited, latest

_LIMIT = 50
_LETTERS_MAX = 200


@click.command()
@click.option("--limit", default=_LIMIT, show_default=True, type=click.IntRange(0), help="How many; 0 for all.")
@json_option
@pass_desk
def audit(desk: Desk, limit: int, as_json: bool) -> None:
    """Show what operators did, to which letters, and why.

    The latest first. It stays when the letters are purged.
    """
    found = islice(latest(desk.ledger), limit or None)
    if as_json:
        for each in found:
            output.print_json(each)
        return
    table = output.columns("when", "who", "act", "letters", "which", "why")
    for each in found:
        entry = each.entry
        table.add_row(
            output.moment(each.at_ms / 1000),
            output.data(entry.by),
            Text(entry.act, "bold"),
            _outcome(each),
            output.data(entry.letters, limit=_LETTERS_MAX),
            output.data(entry.why),
        )
    if table.row_count:
        output.console().print(table)
    else:
        output.note("nobody has acted on letters yet")


def _outcome(audited: Audited) -> Text:
    number = f"{audited.entry.number:,}"
    if audited.end and not audited.entry.number:  # nobody knew how many it would be
        return Text(f"{audited.end.done:,}" if audited.end.done else "")
    if audited.end is None:
        return Text(f"{number}, unfinished", "yellow")
    if audited.end.failed or audited.end.done != audited.entry.number:
        return Text(f"{audited.end.done:,} of {number}", "yellow")
    return Text(number)
