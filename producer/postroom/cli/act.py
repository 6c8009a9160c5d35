"""Acting on letters: ``postroom retry``, ``flush``, ``cancel``, ``hold``, ``release``, ``expire`` and ``purge``.

What is done to letters that are named is done at once. An act on letters that are chosen by a filter, and one that
cannot be undone, first says how many they are, and asks. Each is written into the audit list before it begins.

A filter is followed page by page, twice: to count, and to act. So memory is bounded, however many they are; and what
is accepted after it was counted is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

import click
from rich.progress import track

from postroom import operate
from postroom.cli import output
from postroom.cli.arguments import LetterId, json_option
from postroom.cli.choice import Choice, counted
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.filters import filters
from postroom.cli.known_relay import known_relay
from postroom.cli.look import letters_view
from postroom.errors import TooLate, UnknownLetter
from postroom.ledger import Bell, Ledger, audit
from postroom.reply import printable
from postroom.sending import ring
from postroom.states import LetterState

_TOLD_MAX = 10
_PROGRESS_FROM = 100

Letters = Iterator[tuple[str, LetterState | None]]
"""Ids, each with the state that the letter still has to be in."""


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
    through: Callable[[str], Operation] | None = None
    """The same operation through the relay of this name, where that can be chosen."""


ACTS = (
    Act(
        "retry",
        operate.retry,
        operate.RETRIABLE,
        "Send letters again, to those who did not get them.\n\nThey go out now; nobody who has one gets it twice.",
        "sent again, now, to those who did not get them",
        "retried",
        through=lambda relay: partial(operate.retry, relay=relay),
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
        "expire",
        operate.expire,
        operate.EXPIRABLE,
        "Give letters up now, as if they had been deferred for too long.\n\n"
        "They fail, or are partial; `postroom retry` sends them after all.",
        "given up, for those who did not get them yet",
        "given up",
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
        desk: Desk, /, ids: tuple[str, ...], yes: bool, dry_run: bool, reason: str, as_json: bool, **options: Any
    ) -> None:
        doing = _rerouted(act, desk, options.pop("via", None))
        choice = Choice.of(ids, options, act.states)
        if dry_run:
            _rehearse(desk.ledger, doing, choice, as_json=as_json)
            return
        asked_ms = desk.ledger.now_ms()
        with output.console(stderr=True).status("counting"):
            numbers = choice.numbers(desk.ledger)
        if not numbers:
            output.note(f"there are no {choice.in_words()}: nothing to do")
            return
        if choice.query or act.is_final:
            output.note(f"{counted(numbers)} will be {doing.will_be}")
            if not yes:
                ask()
        entry = audit.Entry(
            act=act.name, by=desk.by, why=printable(reason), letters=choice.in_words(), number=numbers.total()
        )
        _do(desk, doing, choice.letters(desk.ledger, asked_ms), entry, as_json=as_json)

    params = [
        click.Argument(["ids"], nargs=-1, metavar="[ID]...", type=LetterId()),
        click.Option(["--yes", "-y"], is_flag=True, help="Do not ask."),
        click.Option(["--dry-run", "-n"], is_flag=True, help="Only tell which letters it would be."),
        click.Option(
            ["--reason"], default="", metavar="TEXT", help="Why: for each letter's history and the audit list."
        ),
    ]
    if act.through:
        params.append(click.Option(["--relay", "via"], metavar="NAME", help="Send them through this relay."))
    return json_option(
        filters(act.states, by_relay=act.through is None)(
            click.Command(act.name, callback=run, params=params, help=act.help)
        )
    )


def _rerouted(act: Act, desk: Desk, relay: str | None) -> Act:
    if not relay or act.through is None:
        return act
    return replace(act, operation=act.through(known_relay(desk, relay)), will_be=f"{act.will_be}, through {relay}")


def ask() -> None:
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
    unfit = Problems()
    for each in preview.unfit:
        unfit.add(f"letter {each.id} is {each.state}: it would stay as it is")
    unfit.raise_if_any()


@dataclass(slots=True)
class Problems:
    """What went wrong: all are counted, the first few are told."""

    number: int = 0
    told: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Take another."""
        self.number += 1
        if self.number <= _TOLD_MAX:
            self.told.append(problem)

    def raise_if_any(self) -> None:
        """Fail, if there is one.

        Raises:
            ClickException: there is.
        """
        if self.number:
            more = [f"… and {self.number - _TOLD_MAX:,} more"] if self.number > _TOLD_MAX else []
            raise click.ClickException("\n".join([*self.told, *more]))


def _do(desk: Desk, act: Act, letters: Letters, entry: audit.Entry, *, as_json: bool) -> None:
    """Act on the letters, and tell how it went.

    Raises:
        ClickException: it could not be done to all of them.
        LedgerUnavailable: Redis is away; how many it was done to before is told.
    """
    done, problems = 0, Problems()
    audit.begin(desk.ledger, entry)
    try:
        for letter_id, problem in _outcomes(desk, act, letters, entry):
            if as_json:
                output.print_json({"id": letter_id, "done": not problem, "why": problem})
            if problem:
                problems.add(problem)
            else:
                done += 1
    finally:
        if done and not as_json:
            click.echo(f"{output.count(done)} {act.done}")
        audit.end(desk.ledger, entry, done=done, failed=problems.number)
    problems.raise_if_any()


def _outcomes(desk: Desk, act: Act, letters: Letters, entry: audit.Entry) -> Iterator[tuple[str, str]]:
    """Act on one letter after the other; yield its id, and why it was not done, which is empty when it was."""
    broker_answers = True
    screen = output.console(stderr=True)
    is_quiet = entry.number < _PROGRESS_FROM or not screen.is_terminal
    for letter_id, only_in in track(letters, act.name, entry.number, console=screen, transient=True, disable=is_quiet):
        try:
            bell = act.operation(desk.ledger, letter_id, by=entry.by, reason=entry.why, only_in=only_in)
        except (TooLate, UnknownLetter) as error:
            yield letter_id, str(error)
            continue
        if bell and broker_answers:  # when it does not, the schedule rings for the rest
            broker_answers = ring(desk.postroom.bells, bell)
        yield letter_id, ""


COMMANDS = tuple(map(command, ACTS))
