"""Sending a letter to each row of a table: ``postroom send --csv``."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from postroom.cli import output
from postroom.cli.desk import Desk
from postroom.errors import InvalidLetter, PartlySent
from postroom.letter import Letter
from postroom.merging import Row, merge
from postroom.reply import printable

_ROW = re.compile(r"^rows\[(\d+)\]")
_SHOWN_EVERY = 100


def send_rows(desk: Desk, table: Path, given: dict[str, Any], *, chunk: int, dry_run: bool, as_json: bool) -> None:
    """Check the letters of all rows, and send them if all can be sent.

    Args:
        desk: where to send them.
        table: a CSV file in UTF-8; its first line names the fields.
        given: keywords of `Letter`, with fields in them.
        chunk: as for `send_letters`.
        dry_run: only check.
        as_json: print an object for each letter.

    Raises:
        ClickException: a row cannot be sent, and nothing was; or Redis went away, and some letters were accepted.
    """

    def letters() -> Iterator[Letter]:
        return merge(_rows(table), **given, settings=desk.postroom.settings)

    try:
        total = _check(letters())
    except InvalidLetter as error:
        raise click.ClickException(f"nothing was sent:\n{_of_rows(error)}") from error
    if dry_run:
        if as_json:
            output.print_json({"letters": total})
        else:
            click.echo(f"{output.count(total)} would be sent; none was")
        return
    try:
        with _progress("sent", total) as shown:
            receipts = desk.postroom.send_letters(letters(), chunk=chunk, progress=shown)
    except PartlySent as error:
        raise click.ClickException(f"{error}: {printable(str(error.__cause__))}") from error
    if as_json:
        for receipt in receipts:
            output.print_json({"id": receipt.id})
    else:
        click.echo(f"{output.count(len(receipts))} accepted")


def _check(letters: Iterable[Letter]) -> int:
    """Return how many letters there are: making them checks them."""
    count = 0
    with _progress("checked", None) as shown:
        for count, _ in enumerate(letters, 1):
            if count % _SHOWN_EVERY == 0:
                shown(count)
    return count


def _rows(table: Path) -> Iterator[Row]:
    """Yield the rows; what a spreadsheet puts before the first name is dropped, and so are empty lines.

    Raises:
        ClickException: it is no such table.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            if len(set(names)) < len(names):
                raise click.ClickException(f"{table}: a name stands twice in its first line")
            for row in reader:
                if None in row or None in row.values():
                    raise click.ClickException(f"{table}, line {reader.line_num}: it has not {len(names)} columns")
                yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise click.ClickException(f"{table} is no CSV in UTF-8: {error}") from error


def _of_rows(error: InvalidLetter) -> str:
    """The problems, rows counted from 1: the first below the names."""
    return "\n".join(
        _ROW.sub(lambda found: f"row {int(found[1]) + 1}", printable(str(each))) for each in error.problems
    )


@contextmanager
def _progress(done: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many letters are done; elsewhere nothing."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(f"letters {done}"), TimeRemainingColumn())
    console = output.console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.update(task, completed=count)
