"""Following what is said with a relay: ``postroom trace``."""

from __future__ import annotations

from contextlib import suppress

import click
from rich.text import Text

from postroom import clock
from postroom.cli import output
from postroom.cli.arguments import Span, json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.known_relay import known_relay
from postroom.ledger import traces

_WAIT_MS = 1000
_ASKED_MS = 10_000
"""What a trace that nobody follows any more lasts for."""


@click.command()
@click.argument("relay", metavar="RELAY")
@click.option("--for", "for_ms", metavar="SPAN", type=Span(), help="End by itself after so long: 30s, 5m.")
@click.option("--addresses", "has_addresses", is_flag=True, help="Show addresses whole, not only their domains.")
@json_option
@pass_desk
def trace(desk: Desk, /, relay: str, for_ms: int | None, has_addresses: bool, as_json: bool) -> None:
    """Follow what is said with a relay, live.

    By all workers, until Ctrl-C. Credentials and contents are never shown, addresses only by their domains. A line
    begins with the session that it belongs to; C: is what we say, S: what the relay says. A session is shown from its
    beginning, or from its next turn.
    """
    name = known_relay(desk, relay)
    place = traces.place(desk.ledger, name)
    until_s = float("inf") if for_ms is None else clock.steady_s() + for_ms / 1000
    output.note(f"following relay {name}; Ctrl-C ends it")
    try:
        with suppress(KeyboardInterrupt):
            while clock.steady_s() < until_s:
                traces.ask(desk.ledger, name, _ASKED_MS, has_addresses=has_addresses)
                told, place = traces.read_on(desk.ledger, name, place, _WAIT_MS)
                for session, line in told:
                    _print(session, line, as_json=as_json)
    finally:
        traces.end(desk.ledger, name)


def _print(session: str, line: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"session": session, "line": line})
        return
    style = "cyan" if line.startswith("C:") else ""
    output.console().print(Text.assemble((session[:4], "dim"), "  ", output.data(line, style)), soft_wrap=True)
