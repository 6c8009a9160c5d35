"""Examining the whole installation: ``postroom doctor``."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points

import click
from rich.console import Console
from rich.text import Text

from postroom import clock
from postroom.bell import AWAY
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.cli import diagnosis, output
from postroom.cli.arguments import json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.errors import LedgerUnavailable
from postroom.finding import Finding, Level, bad, ok, warn
from postroom.ledger.damaged import damaged
from postroom.ledger.events import latest, read_on
from postroom.ledger.health import backlog, redis_facts
from postroom.ledger.suspensions import current
from postroom.ledger.workers import is_probe_answered, relays, workers
from postroom.reply import printable
from postroom.settings import Settings
from postroom.version import __version__

_LOOK_S = 0.1
_EVENTS = 500
_MARKS = {Level.OK: ("✓", "green"), Level.WARN: ("!", "yellow"), Level.BAD: ("✗", "bold red")}


@click.command()
@click.option(
    "--timeout", "timeout_s", default=5.0, show_default=True, help="Seconds to wait for a worker to do a task."
)
@json_option
@pass_desk
def doctor(desk: Desk, /, timeout_s: float, as_json: bool) -> None:
    """Examine the installation; tell what to mend, and how.

    Redis, the broker, the workers, the clock, what is suspended, how the latest attempts fared, the relays and their
    certificates, the signing keys.

    A task is put on each queue, to see that it is done: that a worker answers does not mean that it works. What can be
    examined only with the packages and the settings of a worker is examined where they are. The exit status is 1 when
    letters wait, or can be lost.
    """
    console, worst = output.console(), Level.OK
    for finding in _findings(desk, timeout_s):
        worst = max(worst, finding.level, key=list(Level).index)
        if as_json:
            output.print_json(finding)
        else:
            _print(console, finding)
    if worst is Level.BAD:
        raise click.exceptions.Exit(1)


def _print(console: Console, finding: Finding) -> None:
    mark, style = _MARKS[finding.level]
    table = output.grid()
    table.columns[0].style = style
    what = output.data(finding.what)
    if finding.remedy:
        what.append_text(Text.assemble("\n", ("→ ", "dim"), output.data(finding.remedy)))
    table.add_row(f"{mark} {finding.area:<11}", what)
    console.print(table)


def _findings(desk: Desk, timeout_s: float) -> Iterator[Finding]:
    try:
        for facts in redis_facts(desk.ledger):
            for finding in (
                *diagnosis.of_redis(facts, desk.postroom.settings.memory_part),
                diagnosis.of_clocks(facts.now_ms, clock.wall_ms()),
            ):
                yield replace(finding, what=f"{facts.node}: {finding.what}") if facts.node else finding
        yield from diagnosis.of_workers(workers(desk.ledger), __version__)
        yield from diagnosis.of_backlog(backlog(desk.ledger))
        yield from diagnosis.of_damaged(damaged(desk.ledger.redis))
        yield from diagnosis.of_suspensions(*current(desk.ledger))
        yield from diagnosis.of_relays({name: desk.ledger.relays.standing(name) for name in relays(desk.ledger)})
        yield from diagnosis.of_attempts(latest(desk.ledger, _EVENTS)[0], desk.ledger.now_ms())
        yield from _work(desk, timeout_s)
    except LedgerUnavailable as error:
        yield bad("redis", printable(str(error)), "is it running, and is POSTROOM_REDIS_URL right?")
    for point in sorted(entry_points(group="postroom.checks"), key=lambda each: each.name):
        yield from _elsewhere(point, desk.postroom.settings)


def _work(desk: Desk, timeout_s: float) -> Iterator[Finding]:
    try:
        waiting = desk.postroom.bells.waiting()
        nonces = {queue: secrets.token_hex(8) for queue in (QUEUE, BULK_QUEUE)}
        for queue, nonce in nonces.items():
            desk.postroom.bells.probe(nonce, queue, timeout_s)
    except AWAY as error:
        remedy = "is it running, and is POSTROOM_BROKER_URL right? letters are accepted, and sent when it is back"
        yield bad("broker", f"it is away ({error})", remedy)
        return
    yield ok("broker", ", ".join(f"{number:,} in the queue {queue}" for queue, number in waiting.items()))
    _, places = latest(desk.ledger, 0)
    answered = _answered(desk, nonces, timeout_s)
    worked = bool(read_on(desk.ledger, places, 1)[0])
    for queue in nonces:
        yield diagnosis.of_probe(queue, waiting[queue], answered=queue in answered, timeout_s=timeout_s, worked=worked)


def _answered(desk: Desk, nonces: dict[str, str], timeout_s: float) -> set[str]:
    """The queues whose probes were done in time."""
    until_s = clock.steady_s() + timeout_s
    while True:
        found = {queue for queue, nonce in nonces.items() if is_probe_answered(desk.ledger, nonce)}
        if len(found) == len(nonces) or clock.steady_s() >= until_s:
            return found
        clock.pause(_LOOK_S)


def _elsewhere(point: EntryPoint, settings: Settings) -> Iterable[Finding]:
    """What another package finds: its entry point is a function of the settings that gives findings."""
    try:
        check = point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        return [
            warn(
                point.name,
                f"not examined: it needs {missing}",
                "pip install 'postroom[worker]', or ask a worker's machine",
            )
        ]
    found: Iterable[Finding] = check(settings)
    return found
