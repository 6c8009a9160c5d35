"""``postroom relay``: how the relays stand with all workers together; pause, resume and try them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.text import Text

from postroom.cli import output, reach, suspend
from postroom.cli.arguments import Span, json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.ledger import suspensions
from postroom.ledger.relays import Standing
from postroom.ledger.suspensions import Suspension
from postroom.reply import printable
from postroom_worker.relay import Relay
from postroom_worker.relay_file import read_relays
from postroom_worker.smtp.dialogue import Dialogue
from postroom_worker.smtp.session import Manner, Session
from postroom_worker.smtp.wire import SessionFailed

_STYLES = {"closed": "green", "open": "bold red", "half-open": "yellow", "suspended": "bold magenta"}
_WORDS = {
    "closed": "serves",
    "open": "is left alone",
    "half-open": "is probed by the next letter",
    "suspended": "is suspended",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """A relay, and how it stands for an operator: what is suspended may serve, or not."""

    relay: Relay
    standing: Standing
    state: str
    left_ms: int
    why: str


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def relay(context: click.Context, as_json: bool) -> None:
    """Show the relays of this machine's settings, pause and resume them, or try one."""
    if context.invoked_subcommand is None:
        context.invoke(show, as_json=as_json)


@relay.command("list")
@json_option
@pass_desk
def show(desk: Desk, as_json: bool) -> None:
    """Show how each relay stands: whether it serves, since when not and why, its sessions, and what it asked for."""
    found = _seen(desk)
    if as_json:
        for each in found:
            output.print_json(_as_data(each))
        return
    table = output.columns("relay", "where", "state", "sessions", "why")
    for each in found:
        of = each.relay
        table.add_row(
            of.name,
            of.program[0] if of.program else f"{of.host}:{of.port}",
            Text(_WORDS[each.state] + _left(each), _STYLES[each.state]),
            str(each.standing.sessions),
            output.data("; ".join(filter(None, [each.why, *_remarks(each.standing)]))),
        )
    output.console().print(table)


@relay.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; kept for those who come after you.")
@click.option("--for", "for_ms", type=Span(), help="For how long, such as 30m; by default until resumed.")
@json_option
@pass_desk
def pause(desk: Desk, name: str, reason: str, for_ms: int | None, as_json: bool) -> None:
    """Leave a relay alone, as `postroom suspend --relay` does: its letters wait, or go to another, at no cost."""
    chosen = [_suspension(desk, name, reason)]
    output.note(f"{reach.of_suspending(desk.ledger, chosen)} will wait")
    suspend.begin(desk, chosen, for_ms or 0, as_json=as_json)


@relay.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; kept for those who come after you.")
@json_option
@pass_desk
def resume(desk: Desk, name: str, reason: str, as_json: bool) -> None:
    """Use a relay again, and forget that it was down, refused us, or asked for less."""
    suspend.end(desk, [_suspension(desk, name, reason)], reason, as_json=as_json)


@relay.command()
@click.argument("name")
@click.option("--trace", "is_traced", is_flag=True, help="Show what is said, but for the credentials.")
@json_option
@pass_desk
def test(desk: Desk, name: str, is_traced: bool, as_json: bool) -> None:
    """Begin a session with a relay, TLS and credentials and all, send nothing, and say what it offers."""
    chosen = _chosen(desk, name)
    if chosen.program:
        raise click.UsageError(f"relay {name} is a program: there is no session to begin")
    told: list[str] = []
    dialogue = Dialogue(told.extend if as_json else _print_lines, has_addresses=True) if is_traced else None
    offers, why = _tried(chosen, Manner.of(desk.postroom.settings), dialogue)
    if as_json:
        traced = {"dialogue": told} if is_traced else {}
        output.print_json({"relay": name, "lets_us_in": not why, "why": why, "offers": offers, **traced})
    if why:
        raise click.ClickException(f"relay {name} does not let us in: {why}")
    output.note(f"relay {name} lets us in, and offers {' '.join(offers) or 'no extensions'}")


def _tried(relay: Relay, manner: Manner, dialogue: Dialogue | None) -> tuple[list[str], str]:
    """What a relay offers; or nothing, and why it does not let us in."""
    try:
        with Session(relay, manner, dialogue) as session:
            return sorted(map(str.upper, session.features)), ""
    except SessionFailed as failed:
        return [], str(failed.answer)


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)


def _suspension(desk: Desk, name: str, reason: str) -> Suspension:
    return Suspension(kind="relay", name=_chosen(desk, name).name, by=desk.by, why=printable(reason))


def _chosen(desk: Desk, name: str) -> Relay:
    relays = read_relays(desk.postroom.settings)
    for each in relays:
        if each.name == name:
            return each
    raise click.BadParameter(f"there is none named {name!r}; there are {', '.join(each.name for each in relays)}")


def _seen(desk: Desk) -> list[_Seen]:
    waiting, now_ms = suspensions.current(desk.ledger)
    suspended = {each.name: each for each in waiting if each.kind == "relay"}
    rise_ms = max(1, int(1000 * desk.postroom.settings.slow_s))
    found = []
    for each in read_relays(desk.postroom.settings):
        standing = desk.ledger.relays.standing(each.name, rise_ms)
        if suspension := suspended.get(each.name):
            left_ms = max(0, suspension.until_ms - now_ms)
            found.append(_Seen(each, standing, "suspended", left_ms, suspension.why or f"by {suspension.by}"))
        else:
            found.append(_Seen(each, standing, standing.state, standing.left_ms, standing.why))
    return found


def _left(seen: _Seen) -> str:
    return f" for {output.span(seen.left_ms / 1000)}" if seen.left_ms > 0 else ""


def _remarks(standing: Standing) -> list[str]:
    since = [f"since {output.moment(standing.since_ms / 1000)}"] if standing.since_ms else []
    refused = [f"it refused the last {output.count(standing.refusals)} alike, for what is ours"]
    slowed = [
        f"slowed to {rate:.1f} letters/s {f'at {each}' if each else ''}".strip()
        for each, rate in standing.rates.items()
    ]
    return since + (refused if standing.refusals > 1 else []) + slowed


def _as_data(seen: _Seen) -> dict[str, Any]:
    of, standing = seen.relay, seen.standing
    return {
        "relay": of.name,
        "host": of.host,
        "port": of.port,
        "program": list(of.program),
        "state": seen.state,
        "left_ms": seen.left_ms,
        "why": seen.why,
        "trips": standing.trips,
        "since_ms": standing.since_ms or None,
        "refusals": standing.refusals,
        "sessions": standing.sessions,
        "rates": dict(standing.rates),
    }
