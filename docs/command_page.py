"""The page of the command: made of what click knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

from postroom.cli import main


def command_page(note: str) -> str:
    """Return every command with its options.

    Args:
        note: that the page is made.
    """
    intro = (
        "Exit status: 0 done; 1 what was asked for failed, with one sentence on stderr; 2 usage. All that prints data "
        "takes `--json`, and prints an object a line.\n"
    )
    return "\n".join([f"# The command\n\n{note}{intro}", *_told(click.Context(main, info_name="postroom"))])


def _told(context: click.Context) -> Iterator[str]:
    """Tell of a command, and then of those below it."""
    told = context.command
    usage = " ".join([context.command_path, *told.collect_usage_pieces(context)])
    yield f"## {context.command_path}\n\n```text\n{usage}\n```\n"
    yield cleandoc(told.help or "").replace("\b\n", "") + "\n"
    records = [each.get_help_record(context) for each in told.params if isinstance(each, click.Option)]
    if rows := [f"| `{names.replace('|', '/')}` | {_cell(what)} |" for names, what in filter(None, records)]:
        yield "\n".join(["| option | what |", "| --- | --- |", *rows, ""])
    if told.epilog:
        yield "```text\n" + cleandoc(told.epilog).removeprefix("\b\n").rstrip() + "\n```\n"
    if isinstance(told, click.Group):
        for name in told.list_commands(context):
            below = told.get_command(context, name)
            assert below, name
            yield from _told(click.Context(below, parent=context, info_name=name))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
