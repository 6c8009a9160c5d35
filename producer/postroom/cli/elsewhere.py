"""Commands that other packages bring, by the entry-point group ``postroom.commands``: looked up when they are named."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import click

from postroom.errors import PostroomError

_REMEDY = "pip install 'postroom[embedded,metrics,worker]'"


class Elsewhere(click.Group):
    """A group of its own commands, in the order they were added, and then of those that are brought to it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *sorted(_points().keys() - self.commands.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        point = _points().get(cmd_name)
        return own if own or point is None else _loaded(point)


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="postroom.commands")}


def _loaded(point: EntryPoint) -> click.Command:
    """The command; or, where it cannot be had, one that says why."""
    try:
        command: click.Command = point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing.startswith("postroom"):
            raise  # a fault of ours, that installing would not mend
        return _refusing(point.name, f"`postroom {point.name}` needs {missing}, which is not installed: {_REMEDY}")
    except PostroomError as error:  # the worker reads its settings when it is imported
        return _refusing(point.name, str(error))
    return command


def _refusing(name: str, why: str) -> click.Command:
    def refuse(given: tuple[str, ...]) -> NoReturn:
        raise click.ClickException(why)

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["given"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
        short_help=f"({why})",
    )
