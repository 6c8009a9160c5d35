"""Letting letters wait: ``postroom suspend``, ``resume`` and ``suspensions``.

A suspension concerns the letters that are there and those that come meanwhile; workers heed it within a second or two.
So it can be begun before anybody knows how many letters it concerns.
"""

from __future__ import annotations

from typing import Final

import click
from rich.progress import Progress

from postroom import clock
from postroom.address import ascii_domain
from postroom.cli import output, reach
from postroom.cli.act import ask
from postroom.cli.arguments import Span, json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.known_relay import known_relay
from postroom.errors import InvalidLetter
from postroom.keywords import word
from postroom.ledger import audit
from postroom.ledger.suspensions import HEEDED_S, Kind, Suspension, current, lift, make_due, suspend
from postroom.reply import printable

_KINDS: Final[tuple[Kind, ...]] = ("tag", "domain", "relay")


def _chosen(command: click.Command) -> click.Command:
    """The decorator for the options that say what."""
    helps = {
        "tag": "Letters with this tag.",
        "domain": "Recipients at this domain.",
        "relay": "Letters for this relay.",
    }
    for kind in _KINDS:
        command.params.append(click.Option([f"--{kind}"], metavar="NAME", multiple=True, help=helps[kind]))
    command.params.append(click.Option(["--reason"], default="", metavar="TEXT", help="Why: all who look will see it."))
    command.params.append(click.Option(["--yes", "-y"], is_flag=True, help="Do not ask, and do not count."))
    return command


@_chosen
@click.command("suspend")
@click.option("--for", "for_ms", metavar="SPAN", type=Span(), help="How long: 30m, 2h; by default until resumed.")
@click.option("--dry-run", "-n", is_flag=True, help="Only tell how many letters it would be.")
@json_option
@pass_desk
def suspend_letters(
    desk: Desk, /, for_ms: int | None, reason: str, yes: bool, dry_run: bool, as_json: bool, **options: tuple[str, ...]
) -> None:
    """Let letters wait, by tag, recipient domain or relay.

    Those that come meanwhile wait, too. It costs them no attempt, and no time until they are given up. Workers heed it
    within two seconds; what is with a relay by then is finished. `postroom resume` ends it, or its time does.
    """
    chosen = _suspensions(desk, options, reason)
    if dry_run or not yes:
        touched = reach.of_suspending(desk.ledger, chosen)
        output.note(f"{touched} will wait")
    if dry_run:
        if as_json:
            output.print_json(touched)
        return
    if not yes:
        ask()
    begin(desk, chosen, for_ms or 0, as_json=as_json)


@_chosen
@click.command("resume")
@click.option("--all", "everything", is_flag=True, help="Whatever is suspended.")
@json_option
@pass_desk
def resume(desk: Desk, /, everything: bool, reason: str, yes: bool, as_json: bool, **options: tuple[str, ...]) -> None:
    """End suspensions: what waits for them goes on now.

    A relay that is resumed is trusted again, suspended or not: that it was down, refused us, or asked for less is
    forgotten, and what waited for that goes on, too.
    """
    there = {each.what: each for each in current(desk.ledger)[0]}
    chosen = list(there.values()) if everything else _suspensions(desk, options, reason)
    missing = [each.what for each in chosen if each.what not in there and each.kind != "relay"]
    if missing:
        raise click.ClickException(f"not suspended: {', '.join(missing)}; suspended: {', '.join(there) or 'nothing'}")
    if not yes:
        output.note(f"{', '.join(each.what for each in chosen) or 'nothing'} will be resumed")
        if chosen:
            output.note(f"{reach.of_resuming(desk.ledger, chosen)} will go on")
            ask()
    end(desk, chosen, reason, as_json=as_json)


@click.command("suspensions")
@json_option
@pass_desk
def suspensions(desk: Desk, /, as_json: bool) -> None:
    """Show what is suspended: by whom, why, and for how long still."""
    found, now_ms = current(desk.ledger)
    if as_json:
        for each in found:
            output.print_json(each)
        return
    table = output.columns("what", "since", "still", "by", "why")
    for each in found:
        table.add_row(
            output.data(each.what, "bold"),
            output.moment(each.at_ms / 1000),
            output.span((each.until_ms - now_ms) / 1000) if each.until_ms else "until resumed",
            output.data(each.by),
            output.data(each.why),
        )
    if table.row_count:
        output.console().print(table)
    else:
        output.note("nothing is suspended")


def begin(desk: Desk, chosen: list[Suspension], for_ms: int, *, as_json: bool) -> None:
    """Suspend, write it down, and say so.

    Args:
        desk: whose.
        chosen: what, by whom and why.
        for_ms: for how long; 0 until it is resumed.
        as_json: print an object for each, too.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    for each in chosen:
        entry = audit.Entry(act="suspend", by=each.by, why=each.why, letters=each.what, number=0)
        audit.begin(desk.ledger, entry)
        suspend(desk.ledger, each, for_ms)
        audit.end(desk.ledger, entry, done=0, failed=0)
        output.note(f"{each.what} is suspended {f'for {output.span(for_ms / 1000)}' if for_ms else 'until resumed'}")
        if as_json:
            output.print_json({"what": each.what, "for_ms": for_ms or None})


def end(desk: Desk, chosen: list[Suspension], reason: str, *, as_json: bool) -> None:
    """Resume, write it down, let what waits go on, and say how many letters did.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    why = printable(reason)
    for each in chosen:
        entry = audit.Entry(act="resume", by=desk.by, why=why, letters=each.what, number=0)
        audit.begin(desk.ledger, entry)
        if each.kind == "relay":
            desk.ledger.relays.trust(each.name)
        lift(desk.ledger, each)
        done = _let_go_on(desk, each, why)
        audit.end(desk.ledger, entry, done=done, failed=0)
        output.note(f"{each.what} is resumed; {output.count(done)} waited for it, and may go now")
        if as_json:
            output.print_json({"what": each.what, "letters": done})


def _let_go_on(desk: Desk, lifted: Suspension, why: str) -> int:
    """Let what waits go on, now and once more when all workers know; returns how many letters."""
    done = 0
    console = output.console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("resume", total=None)
        for wait_s in (0.0, HEEDED_S):
            clock.pause(wait_s)
            for some in make_due(desk.ledger, lifted, by=desk.by, why=why):
                done += some
                progress.update(task, completed=done)
    return done


def _suspensions(desk: Desk, options: dict[str, tuple[str, ...]], reason: str) -> list[Suspension]:
    """What the options name.

    Raises:
        UsageError: they name nothing, or what cannot be.
    """
    found = [
        Suspension(kind=kind, name=_name(desk, kind, name), by=desk.by, why=printable(reason))
        for kind in _KINDS
        for name in options[kind]
    ]
    if not found:
        raise click.UsageError("what? give --tag, --domain or --relay")
    return found


def _name(desk: Desk, kind: Kind, name: str) -> str:
    try:
        if kind == "tag":
            return word(name, "tag")
        if kind == "domain":
            return ascii_domain(name.rpartition("@")[2], "domain")
    except InvalidLetter as error:
        raise click.UsageError(f"--{kind}: {error.problems[0].problem}; {error.problems[0].remedy}") from None
    return known_relay(desk, name)


COMMANDS = (suspend_letters, resume, suspensions)
