"""``postroom relay``: how the relays stand with all workers together; pause, resume and try them."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from postroom.cli import output
from postroom.cli.arguments import Span, json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.ledger import audit
from postroom.ledger.relays import Standing
from postroom_worker.relay import Relay
from postroom_worker.relay_file import read_relays
from postroom_worker.smtp.session import Manner, Session
from postroom_worker.smtp.wire import SessionFailed

_STYLES = {"closed": "green", "open": "bold red", "half-open": "yellow", "paused": "bold magenta"}
_WORDS = {
    "closed": "serves",
    "open": "is left alone",
    "half-open": "is probed by the next letter",
    "paused": "is paused",
}


@click.group(invoke_without_command=True)
@click.pass_context
def relay(context: click.Context) -> None:
    """Show the relays of this machine's settings, pause and resume them, or try one."""
    if context.invoked_subcommand is None:
        context.invoke(show)


@relay.command("list")
@json_option
@pass_desk
def show(desk: Desk, as_json: bool = False) -> None:
    """Show how each relay stands: whether it serves, since when not and why, its sessions, and what it asked for."""
    found = [(each, _standing(desk, each)) for each in read_relays(desk.postroom.settings)]
    if as_json:
        for each, standing in found:
            output.print_json(_as_data(each, standing))
        return
    table = output.columns("relay", "where", "state", "sessions", "why")
    for each, standing in found:
        table.add_row(
            each.name,
            each.program[0] if each.program else f"{each.host}:{each.port}",
            Text(_WORDS[standing.state] + _left(standing), _STYLES[standing.state]),
            str(standing.sessions),
            output.data("; ".join(filter(None, [standing.why, *_rates(standing)]))),
        )
    output.console().print(table)


@relay.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; kept for those who come after you.")
@click.option("--for", "for_ms", type=Span(), help="For how long, such as 30m; by default until resumed.")
@pass_desk
def pause(desk: Desk, name: str, reason: str, for_ms: int | None) -> None:
    """Leave a relay alone: its letters wait, or go to another, and lose no attempt."""
    chosen = _chosen(desk, name)
    entry = audit.Entry(act="pause relay", by=desk.by, why=reason, letters=name, number=0)
    audit.begin(desk.ledger, entry)
    desk.ledger.relays.pause(chosen.name, desk.by, reason or f"paused by {desk.by}", for_ms or 0)
    audit.end(desk.ledger, entry, done=0, failed=0)
    output.note(f"relay {name} is left alone{f' for {output.span(for_ms / 1000)}' if for_ms else ' until resumed'}")


@relay.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; kept for those who come after you.")
@pass_desk
def resume(desk: Desk, name: str, reason: str) -> None:
    """Use a relay again, and forget that it was down, refused us, or asked for less."""
    chosen = _chosen(desk, name)
    entry = audit.Entry(act="resume relay", by=desk.by, why=reason, letters=name, number=0)
    audit.begin(desk.ledger, entry)
    desk.ledger.relays.resume(chosen.name)
    audit.end(desk.ledger, entry, done=0, failed=0)
    output.note(f"relay {name} is used again")


@relay.command()
@click.argument("name")
@pass_desk
def test(desk: Desk, name: str) -> None:
    """Begin a session with a relay, TLS and credentials and all, send nothing, and say what it offers."""
    chosen = _chosen(desk, name)
    if chosen.program:
        raise click.UsageError(f"relay {name} is a program: there is no session to begin")
    try:
        with Session(chosen, Manner.of(desk.postroom.settings)) as session:
            offers = " ".join(sorted(session.features)).upper()
    except SessionFailed as failed:
        raise click.ClickException(f"relay {name} does not let us in: {failed.answer}") from None
    output.note(f"relay {name} lets us in, and offers {offers or 'no extensions'}")


def _chosen(desk: Desk, name: str) -> Relay:
    relays = read_relays(desk.postroom.settings)
    for each in relays:
        if each.name == name:
            return each
    raise click.BadParameter(f"there is none named {name!r}; there are {', '.join(each.name for each in relays)}")


def _standing(desk: Desk, of: Relay) -> Standing:
    return desk.ledger.relays.knock(of.name, "", 0, max(1, int(1000 * desk.postroom.settings.slow_s)))


def _left(standing: Standing) -> str:
    return f" for {output.span(standing.left_ms / 1000)}" if standing.left_ms > 0 else ""


def _rates(standing: Standing) -> list[str]:
    return [
        f"slowed to {rate:.1f} letters/s {f'at {each}' if each else ''}".strip()
        for each, rate in standing.rates.items()
    ]


def _as_data(of: Relay, standing: Standing) -> dict[str, Any]:
    return {
        "relay": of.name,
        "host": of.host,
        "port": of.port,
        "program": list(of.program),
        "state": standing.state,
        "left_ms": standing.left_ms,
        "why": standing.why,
        "trips": standing.trips,
        "refusals": standing.refusals,
        "sessions": standing.sessions,
        "rates": dict(standing.rates),
    }
