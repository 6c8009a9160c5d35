"""``postroom chaos``: break everything around one's own settings, on servers and relays of its own, and compare."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from postroom_worker.dev.chaos.callers import Callers, unsettled
from postroom_worker.dev.chaos.faults import Faults
from postroom_worker.dev.chaos.report import show
from postroom_worker.dev.chaos.run import Report, patience_s, run
from postroom_worker.dev.chaos.stage import Stage, stage
from postroom_worker.dev.demo import stopping_in_order
from postroom_worker.dev.folder import begin_in

FOLDER = Path(".postroom/chaos")
LETTERS = 200
_SEEDS = 10_000


@click.command()
@click.option("--letters", default=LETTERS, show_default=True, help="How many letters, at least.")
@click.option("--seed", type=int, help="Plays the same script of faults again; by default another each time.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where it all goes.")
def chaos(letters: int, seed: int | None, folder: Path) -> None:
    """Kill, cut and confuse everything, and see whether a letter is lost or doubled.

    Workers run with your POSTROOM_ settings; but ledger, broker and relays are private, and all waits are short.
    Nothing leaves this machine. Exit status 0: receipts, ledger and relays agree. 1: they do not, or a fault never bit.
    """
    if not Path("/proc/self/fd").exists():
        raise click.ClickException("`postroom chaos` looks into processes as Linux shows them: run it there")
    seed = Random().randrange(_SEEDS) if seed is None else seed
    console = Console(highlight=False)
    console.print(f"{letters} letters, seed {seed}; data and logs are in {folder}\n", soft_wrap=True)
    begin_in(folder, FOLDER)
    # What the callers are warned of is no news here.
    logging.basicConfig(filename=folder / "callers.log", level=logging.WARNING)
    with stopping_in_order():
        report = played(console, folder, seed, letters)
        show(console, report)
    sys.exit(1 if report.problems() else 0)


def played(console: Console, folder: Path, seed: int, letters: int) -> Report:
    """Run it, and show how far it is."""
    with stage(folder) as on, Live(console=console, refresh_per_second=4, transient=True) as live:

        def watch(on: Stage, callers: Callers, faults: Faults) -> None:
            live.update(_progress(on, callers, faults, letters))

        return run(on, seed, letters, patience_s(letters), watch)


def _progress(on: Stage, callers: Callers, faults: Faults, letters: int) -> Table:
    sent, bitten, left = len(callers.receipts), sum(faults.bit.values()), len(faults.left)
    table = Table.grid(padding=(0, 2))
    table.add_row(ProgressBar(total=letters, completed=min(sent, letters), width=40), f"{sent} letters handed in")
    table.add_row(ProgressBar(total=bitten + left, completed=bitten, width=40), f"{bitten} faults bit, {left} to come")
    table.add_row("", f"{unsettled(on.ledger):g} letters on their way")
    return table
