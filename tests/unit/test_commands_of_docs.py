"""Every command in README and docs is one: its name, its options, and what it names of ours.

Those of `postroom` in blocks of code are run as well: integration/test_commands_of_docs.py.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest
from celery.bin.celery import celery
from celery.worker.control import Panel

from pages import OUTPUT, OUTSIDE, PAGES, ROOT, Command, blocks, commands, mentioned
from postroom.cli import main
from postroom.settings import Settings, variable
from postroom_worker import inspection

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M))
VARIABLES = {variable(each.name) for each in fields(Settings)}
LANGUAGES = {"python", "toml", "json", "yaml", "text", "ini"}
ALL = [each for page in PAGES for each in (*commands(page), *mentioned(page))]


@cache
def below(group: click.Group, name: str) -> click.Command | None:
    """Return a command of a group; it may be looked for in all packages that are installed, so only once."""
    return group.get_command(click.Context(group), name)


def check_click(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Check names of commands, options and choices.

    Raises:
        AssertionError: there is no such command.
        click.UsageError: there is no such option, or choice.
    """
    context = click.Context(command, parent=parent, info_name=command.name, **command.context_settings)
    if isinstance(command, click.Group):
        context.allow_interspersed_args = False
    given, rest, _ = command.make_parser(context).parse_args(list(words))
    for each in command.params:
        if isinstance(each.type, click.Choice) and each.name in given:
            values = given[each.name]
            for value in values if isinstance(values, list) else [values]:
                each.type.convert(value, each, context)
    if isinstance(command, click.Group) and rest:
        named = below(command, rest[0])
        assert named, f"there is no {rest[0]}"
        check_click(named, rest[1:], context)


def check_celery(words: list[str]) -> None:
    """Check a command of Celery, and what is ours in it."""
    check_click(celery, words)
    at = words.index("-A")
    assert words[at + 1] == "postroom_worker"
    if "inspect" in words:
        asked = words[words.index("inspect") + 1]
        assert asked in Panel.meta, f"workers know no {asked}: {inspection.__name__}"


def check(command: Command) -> None:
    """Check a command as far as it can be checked without running it.

    Raises:
        AssertionError: it names what is not there.
        click.UsageError: the same.
    """
    program, words = Path(command.words[0]).name, list(command.words[1:])
    assert set(re.findall(r"\b(POSTROOM_[A-Z_]+)=", " ".join(command.words))) <= VARIABLES
    if program == "postroom":
        try:
            check_click(main, [word for word in words if word != "…"])
        except click.BadOptionUsage:  # prose may leave out the last option's value
            check_click(main, [*words, "…"])
    elif program == "celery":
        check_celery(words)
    elif program == "make":
        assert {word for word in words if "=" not in word} <= TARGETS
    elif program == "pip":
        for extras in re.findall(r"postroom\[([^]]*)\]", " ".join(words)):
            assert set(extras.split(",")) <= EXTRAS
    elif program != "export" and "=" not in command.words[0]:
        check_outside(program, words)


def check_outside(program: str, words: list[str]) -> None:
    """Check what a command of others names of ours: files, units, and commands to be run elsewhere."""
    assert program in OUTSIDE, f"what is {program}?"
    ours = [word for word in words if re.match(r"(deploy|docs|tests)/|docker-compose", word)]
    assert not [word for word in ours if not (ROOT / word).exists()]
    if program == "systemctl":
        units = [word for word in words if word.startswith("postroom-")]
        assert not [unit for unit in units if not (ROOT / f"deploy/systemd/{unit}.service").exists()]
    for at, word in enumerate(words):
        if Path(word).name in ("postroom", "celery"):
            check(Command("within", 1, tuple(words[at:])))


@pytest.mark.parametrize("command", ALL, ids=map(str, ALL))
def test_every_command_in_the_docs_is_one(command: Command) -> None:
    check(command)


def test_what_no_test_runs_is_in_the_docs() -> None:
    assert {Path(each.words[0]).name for each in ALL} >= OUTSIDE.keys()


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_code_is_of_a_language_holds_commands_or_is_known_output(page: str) -> None:
    others = [each for each in blocks(page) if not each.is_console and each.language not in LANGUAGES]
    assert not [each for each in others if not each.text.startswith(OUTPUT)]


@pytest.mark.parametrize(
    "line",
    [
        "postroom lst",
        "postroom list --stat failed",
        "postroom list --state faild",
        "postroom relay pauze primary",
        "celery -A postroom_worker wroker",
        "celery -A postroom_worker inspect relais",
        "celery -A postroom worker",
        "make tset",
        "pip install 'postroom[wroker]'",
        "export POSTROOM_REDIS=redis://localhost",
        "docker compose --file deploy/none.yml up",
        "docker compose exec worker postroom docter",
        "systemctl enable postroom-wroker",
        "postrom list",
    ],
)
def test_a_misspelt_command_is_none(line: str) -> None:
    words = tuple(word.strip("'") for word in line.split())
    with pytest.raises((AssertionError, click.UsageError)):
        check(Command("a page", 1, words))
