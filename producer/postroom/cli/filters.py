"""The options that choose letters, the same for all commands that look for some, or act on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import click

from postroom.cli import output
from postroom.cli.arguments import Moment, ReplyCode
from postroom.ledger.query import Query
from postroom.states import LetterState

T = TypeVar("T", bound=Callable[..., Any] | click.Command)

_SINCE = "Only what was accepted since then: 2h, 3d, 2026-11-30."


def filters(states: Collection[LetterState], *, by_relay: bool = True) -> Callable[[T], T]:
    """Return the decorator that gives a command these options; `query` reads them.

    Args:
        states: those that letters can be in for it; where it is one, it goes without saying.
        by_relay: whether `--relay` is one of them; else it has another meaning, and there is `--last-relay` only.
    """
    names = click.Choice(sorted(state.value for state in states))
    options = [
        click.option("--state", "states", multiple=True, type=names, help="Only in this state; repeatable."),
        click.option(
            "--tag", "tags", metavar="TAG", multiple=True, help="Only with this tag; repeatable: or this one."
        ),
        click.option("--recipient", metavar="WHO", help="Only to this address, or to anybody at this domain."),
        click.option("--code", type=ReplyCode(), help="Only if this was replied last: 451, 4xx, 4.7.1, 5.1.x."),
        click.option(
            *(("--relay",) if by_relay else ()),
            "--last-relay",
            "relay",
            metavar="NAME",
            help="Only what was last tried, or has to wait, at this relay.",
        ),
        click.option("--since", "since_ms", metavar="WHEN", type=Moment(), help=_SINCE),
        click.option(
            "--before", "before_ms", metavar="WHEN", type=Moment(), help="Only what was accepted before then."
        ),
    ]
    given = options[1:] if len(states) == 1 else options

    def decorate(command: T) -> T:
        # Decorators of a function apply from the last to the first; a command that is made takes them in order.
        for option in given if isinstance(command, click.Command) else reversed(given):
            option(command)
        return command

    return decorate


def query(options: Mapping[str, Any], states: Iterable[LetterState]) -> Query:
    """Return what these options ask for.

    Args:
        options: as the command got them.
        states: those that are meant when none is named.
    """
    named = tuple(map(LetterState, options.get("states", ())))
    others = {name: value for name, value in options.items() if value and name != "states"}
    return Query(states=named or tuple(states), **others)


def in_words(asked: Query) -> str:
    """Return what letters are chosen by, as the options say it: ``failed letters, tag spring, code 4xx``."""
    is_any = len(asked.states) == len(LetterState)
    found = ["letters" if is_any else f"{' or '.join(asked.states)} letters"]
    found += [f"tag {' or '.join(asked.tags)}"] if asked.tags else []
    found += [f"recipient {asked.recipient}"] if asked.recipient else []
    found += [f"code {asked.code}"] if asked.code else []
    found += [f"relay {asked.relay}"] if asked.relay else []
    found += [f"since {output.moment(asked.since_ms / 1000)}"] if asked.since_ms else []
    found += [f"before {output.moment(asked.before_ms / 1000)}"] if asked.before_ms else []
    return ", ".join(found)
