"""All that prints data takes ``--json``: every command there is, but for those that start something and stay."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from postroom.cli import main

STARTS_SOMETHING = {
    "postroom chaos": "a rehearsal for developers, shown as it goes",
    "postroom demo": "a show for newcomers",
    "postroom dev": "runs until Ctrl-C",
    "postroom exporter": "serves metrics until Ctrl-C",
    "postroom flower": "serves Flower until Ctrl-C",
}


def commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """All that can be run, by the words that name it; a group too, when it does something by itself."""
    found = context.command
    if not isinstance(found, click.Group) or found.invoke_without_command:
        yield context.command_path, found
    if isinstance(found, click.Group):
        for name in found.list_commands(context):
            below = found.get_command(context, name)
            assert below
            yield from commands(click.Context(below, parent=context, info_name=name))


COMMANDS = dict(commands(click.Context(main, info_name="postroom")))


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - STARTS_SOMETHING.keys()))
def test_a_command_prints_json_when_it_is_asked_to(name: str) -> None:
    assert any("--json" in each.opts for each in COMMANDS[name].params)


def test_the_exceptions_are_few_and_real() -> None:
    assert {name for name, each in COMMANDS.items() if not any("--json" in param.opts for param in each.params)} == set(
        STARTS_SOMETHING
    )
