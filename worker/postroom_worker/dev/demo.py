"""``postroom demo``: real letters through a real worker, some deferred and retried, one refused; then the accounts."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from postroom import Letter, LetterState, Postroom, Receipt, Settings, clock
from postroom.cli.show import account_view
from postroom.ledger.views import account, statuses
from postroom_worker.dev import fleet, letters
from postroom_worker.dev.capture import Capture, capture, greylisted, refused
from postroom_worker.dev.folder import begin_in
from postroom_worker.dev.server import ledger_url

FOLDER = Path(".postroom/demo")
BATCH = 200
_PATIENCE_S = 55.0


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where it all goes.")
@click.option("--letters", "batch", default=BATCH, show_default=True, help="How many letters the batch has.")
def demo(folder: Path, batch: int) -> None:
    """Watch letters leave through a real Celery worker, and read what became of each."""
    console = Console(highlight=False)
    with stopping_in_order():
        sys.exit(run(console, folder, batch))


def run(console: Console, folder: Path, batch: int) -> int:
    """Run the demo; returns the exit status: 0 when everything went as told."""
    begin_in(folder, FOLDER)
    mail = folder / "mail"
    answers = {letters.GREYLISTED: greylisted(1), letters.REFUSED: refused}
    with ledger_url(folder) as url, capture(mail, answers=answers, slow={letters.SLOW: 3.0}) as relay:
        ticked(console, "a Redis-protocol server, append-only", url)
        ticked(console, "a relay that greylists, refuses, dawdles", relay.url)
        environment = {
            "POSTROOM_REDIS_URL": url,
            "POSTROOM_RELAY_URL": relay.url,
            "POSTROOM_RETRY_FIRST_S": "4",
        }
        with fleet.worker(folder, environment, "demo", "--concurrency=4") as worker:
            ticked(console, "a worker of four", "celery -A postroom_worker worker --concurrency=4\n")
            client = Postroom(Settings.from_environment(environment))
            three, receipts = send(client, batch)
            settled = watch(console, client, receipts)
            tell(console, client, three, mail, worker.log)
            problems = (
                list(disappointments(receipts, three, relay)) if settled else ["some letters are still on their way"]
            )
    for problem in problems:
        console.print(f"[red]✗[/] {problem}")
    return 1 if problems else 0


def ticked(console: Console, what: str, where: str) -> None:
    """Print that something runs."""
    console.print(Text.assemble(("✓ ", "green"), f"{what:<42}", where), soft_wrap=True)


def send(client: Postroom, batch: int) -> tuple[Receipt, list[Receipt]]:
    """Send everything; returns the receipt of the letter to three recipients, and all of them."""
    singles: list[Letter] = [*letters.tutorial(), letters.invoice()]
    receipts = [client.send(letter) for letter in singles]
    three = client.send(letters.three_recipients())
    return three, [*receipts, three, *client.send_letters(letters.batch(batch))]


def watch(console: Console, client: Postroom, receipts: list[Receipt]) -> bool:
    """Show the letters' states until all are settled; False when that takes too long."""
    deadline = clock.steady_s() + _PATIENCE_S
    with Live(console=console, refresh_per_second=10) as live:
        while True:
            states = Counter(each.state for each in statuses(client.ledger, [receipt.id for receipt in receipts]))
            done = sum(number for state, number in states.items() if state.is_settled)
            live.update(_progress(states, done, len(receipts)))
            if done == len(receipts):
                return True
            if clock.steady_s() > deadline:
                return False
            clock.pause(0.1)


def _progress(states: Counter[LetterState], done: int, total: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(ProgressBar(total=total, completed=done, width=40), Text(f"{done} of {total} letters settled"))
    for state in LetterState:
        if states[state]:
            table.add_row(Text(f"{states[state]}", justify="right"), Text(state, style=_COLOURS.get(state, "")))
    return table


_COLOURS = {
    LetterState.SENT: "green",
    LetterState.PARTIAL: "yellow",
    LetterState.DEFERRED: "yellow",
    LetterState.FAILED: "red",
    LetterState.SENDING: "cyan",
    LetterState.QUEUED: "blue",
}


def tell(console: Console, client: Postroom, three: Receipt, mail: Path, log: Path) -> None:
    """Print the account of the letter to three recipients, where everything is, and what to do next."""
    console.print("\nThe letter to three recipients:\n")
    console.print(account_view(account(client.ledger, three.id)))
    places = Table.grid(padding=(0, 2))
    places.add_row("\nThe letters as they left", f"\n{mail}/*.eml")
    places.add_row("Who got which", f"{mail}/envelopes.jsonl")
    places.add_row("What the worker said", str(log))
    places.add_row("\nNext", "")
    for command, what in (
        (f"less {mail}/0001.eml", "read a letter"),
        ("make dev", "all of this without an end, and Flower: for letters of your own"),
        ("less README.md", "the five lines of code that send one"),
    ):
        places.add_row(Text(command, style="bold"), what)
    console.print(places)


def disappointments(receipts: list[Receipt], three: Receipt, relay: Capture) -> Iterator[str]:
    """Yield what did not go as told: by the ledger's account, and by the relay's."""
    states = Counter(receipt.status().state for receipt in receipts)
    expected = Counter({LetterState.SENT: len(receipts) - 1, LetterState.PARTIAL: 1})
    if states != expected:
        yield f"the states are {dict(states)}, not {dict(expected)}"
    outcomes = {address: (each.state, each.attempts) for address, each in three.status().recipients.items()}
    told = {
        letters.READER: ("accepted", 1),
        letters.GREYLISTED: ("accepted", 2),
        letters.REFUSED: ("refused", 1),
    }
    if outcomes != told:
        yield f"the three recipients came to {outcomes}"
    if len(relay.accepted) != len(receipts) + 1 or set(relay.accepted.values()) != {1}:
        yield "the relay's account differs: somebody got a letter twice, or not at all"


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP unwind everything once; what comes while it unwinds is not heard."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    heard = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped; nothing is left running", err=True)
        sys.exit(130)
