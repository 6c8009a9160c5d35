"""Acting on letters: ``postroom retry``, ``flush``, ``cancel``, ``hold``, ``release`` and ``purge``.

What is done to letters that are named is done at once. An act on all letters of a state, and one that cannot be
undone, first says how many they are, and asks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import click
from rich.progress import track

from postroom import operate
from postroom.cli import output
from postroom.cli.choice import Choice, Chosen, counted
from postroom.cli.desk import Desk, LetterId, json_option, pass_desk
from postroom.cli.look import letters_view
from postroom.errors import TooLate, UnknownLetter
from postroom.ledger import Bell, Ledger
from postroom.reply import printable
from postroom.sending import ring
from postroom.states import LetterState

_TOLD_MAX = 10
_PROGRESS_FROM = 100


class Operation(Protocol):
    """What `postroom.operate` does to one letter."""

    def __call__(
        self, ledger: Ledger, letter_id: str, *, by: str, reason: str, only_in: LetterState | None
    ) -> Bell | None:
        """Do it; returns the bell to ring, if there is one."""


@dataclass(frozen=True, slots=True)
class Act:
    """One of the commands."""

    name: str
    operation: Operation
    states: frozenset[LetterState]
    """In which letters it can be done to."""
    help: str
    will_be: str
    """What the letters will be: read after "12 letters will be"."""
    done: str
    """What the letters then are: read after "12 letters"."""
    is_final: bool = False
    """It cannot be undone."""


ACTS = (
    Act(
        "retry",
        operate.retry,
        operate.RETRIABLE,
        "Send letters again, to those who did not get them.\n\nThey go out now; nobody who has one gets it twice.",
        "sent again, now, to those who did not get them",
        "retried",
    ),
    Act(
        "flush",
        operate.flush,
        frozenset({LetterState.DEFERRED}),
        "Try deferred letters now, as if they were due.\n\nWithout IDs: all of them.",
        "tried now, as if due",
        "on the way",
    ),
    Act(
        "cancel",
        operate.cancel,
        operate.CANCELLABLE,
        "Call letters back before they are sent.\n\n"
        "Who got one keeps it; `postroom retry` sends it to the others after all.",
        "cancelled, for those who did not get them yet",
        "cancelled",
    ),
    Act(
        "hold",
        operate.hold,
        operate.HOLDABLE,
        "Hold letters back until somebody releases them.",
        "held until somebody releases them",
        "held",
    ),
    Act(
        "release",
        operate.release,
        frozenset({LetterState.HELD}),
        "Let held letters go on.\n\nWithout IDs: all of them. One that was held before its time waits for it.",
        "released, to go on",
        "released",
    ),
    Act(
        "purge",
        operate.purge,
        operate.PURGEABLE,
        "Remove letters that are over, account and all.\n\n"
        "It cannot be undone. Letters that were sent go by themselves, after POSTROOM_KEEP_SENT_S.",
        "removed for good, content and account",
        "purged",
        is_final=True,
    ),
)


def command(act: Act) -> click.Command:
    """Return the command that does this to letters."""

    @pass_desk
    def run(
        desk: Desk,
        ids: tuple[str, ...],
        yes: bool,
        dry_run: bool,
        reason: str,
        as_json: bool,
        states: tuple[str, ...] = (),
    ) -> None:
        choice = Choice.of(ids, states, act.states)
        if dry_run:
            _rehearse(desk.ledger, act, choice, as_json=as_json)
            return
        chosen = choice.chosen(desk.ledger)
        if not chosen:
            output.note(f"there are no {' or '.join(choice.states)} letters: nothing to do")
            return
        if choice.states or act.is_final:
            output.note(f"{counted(chosen)} will be {act.will_be}")
            if not yes:
                _ask()
        _do(desk, act, chosen, printable(reason), as_json=as_json)

    names = click.Choice(sorted(state.value for state in act.states))
    by_state = click.Option(["--state", "states"], multiple=True, type=names, help="All in this state; repeatable.")
    options = [
        click.Argument(["ids"], nargs=-1, metavar="[ID]...", type=LetterId()),
        *([by_state] if len(act.states) > 1 else []),
        click.Option(["--yes", "-y"], is_flag=True, help="Do not ask."),
        click.Option(["--dry-run", "-n"], is_flag=True, help="Only tell which letters it would be."),
        click.Option(["--reason"], default="", metavar="TEXT", help="Why: written into each letter's history."),
    ]
    return json_option(click.Command(act.name, callback=run, params=options, help=act.help))


def _ask() -> None:
    """Ask whether to go on.

    Raises:
        Abort: no.
        UsageError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: give --yes")
    click.confirm("Go on?", abort=True, err=True)


def _rehearse(ledger: Ledger, act: Act, choice: Choice, *, as_json: bool) -> None:
    """Tell which letters it would be done to.

    Raises:
        UnknownLetter: one that was named is not there.
        ClickException: it cannot be done to one that was named.
    """
    preview = choice.preview(ledger, act.states)
    if as_json:
        for status in preview.found:
            output.print_json(status)
    else:
        click.echo(f"{output.count(preview.number)} would be {act.will_be}")
        if preview.number:
            output.console().print(letters_view(islice(preview.found, _TOLD_MAX), ledger.now_ms() / 1000))
        if preview.number > _TOLD_MAX:
            click.echo(f"… and {preview.number - _TOLD_MAX:,} more")
    _complain([f"letter {each.id} is {each.state}: it would stay as it is" for each in preview.unfit])


def _do(desk: Desk, act: Act, chosen: Chosen, reason: str, *, as_json: bool) -> None:
    """Act on the letters, and tell how it went.

    Raises:
        ClickException: it could not be done to all of them.
        LedgerUnavailable: Redis is away; how many it was done to before is told.
    """
    done, problems = 0, list[str]()
    try:
        for letter_id, problem in _outcomes(desk, act, chosen, reason):
            if as_json:
                output.print_json({"id": letter_id, "done": not problem, "why": problem})
            if problem:
                problems.append(problem)
            else:
                done += 1
    finally:
        if done and not as_json:
            click.echo(f"{output.count(done)} {act.done}")
    _complain(problems)


def _outcomes(desk: Desk, act: Act, chosen: Chosen, reason: str) -> Iterator[tuple[str, str]]:
    """Act on one letter after the other; yield its id, and why it was not done, which is empty when it was."""
    broker_answers = True
    screen = output.console(stderr=True)
    is_quiet = len(chosen) < _PROGRESS_FROM or not screen.is_terminal
    for letter_id, only_in in track(chosen.items(), act.name, console=screen, transient=True, disable=is_quiet):
        try:
            bell = act.operation(desk.ledger, letter_id, by=desk.by, reason=reason, only_in=only_in)
        except (TooLate, UnknownLetter) as error:
            yield letter_id, str(error)
            continue
        if bell and broker_answers:  # when it does not, the schedule rings for the rest
            broker_answers = ring(desk.postroom.bells, bell)
        yield letter_id, ""


def _complain(problems: Sequence[str]) -> None:
    """Fail with these problems, if there are any.

    Raises:
        ClickException: there are.
    """
    if problems:
        more = [f"… and {len(problems) - _TOLD_MAX:,} more"] if len(problems) > _TOLD_MAX else []
        raise click.ClickException("\n".join([*problems[:_TOLD_MAX], *more]))


COMMANDS = tuple(map(command, ACTS))
