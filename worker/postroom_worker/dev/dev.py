"""``postroom dev``: a server, a capturing relay, a worker and Flower on one machine, until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console

from postroom_worker.dev import fleet
from postroom_worker.dev.capture import capture
from postroom_worker.dev.demo import stopping_in_order
from postroom_worker.dev.server import dying_with_parent, free_port, ledger_url

FOLDER = Path(".postroom/dev")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where it all goes.")
@click.option("--concurrency", default=2, show_default=True, help="Letters delivered at once.")
def dev(folder: Path, concurrency: int) -> None:
    """Run everything that Postroom needs, for development. Nothing leaves this machine."""
    console = Console(highlight=False)
    with stopping_in_order(), ExitStack() as stack:
        url = stack.enter_context(ledger_url(folder))
        relay = stack.enter_context(capture(folder / "mail"))
        environment = {"POSTROOM_REDIS_URL": url, "POSTROOM_RELAY_URL": relay.url}
        worker = stack.enter_context(fleet.worker(folder, environment, "dev", f"--concurrency={concurrency}"))
        console.print(f"letters arrive in   {folder / 'mail'}")
        console.print(f"the worker's log    {worker.log}")
        if find_spec("flower"):
            console.print(f"Flower              {stack.enter_context(flower(folder, environment))}")
        console.print("\nin another terminal:\n")
        if (programs := str(Path(sys.executable).parent)) not in os.get_exec_path():
            console.print(f'  export PATH="{programs}:$PATH"', soft_wrap=True)
        console.print(f"  export POSTROOM_REDIS_URL={url} POSTROOM_RELAY_URL={relay.url}", soft_wrap=True)
        console.print("  export POSTROOM_FROM=you@example.org")
        console.print("  postroom send --to ann@example.org --subject hi 'it works' --wait")
        console.print("  postroom list\n\nCtrl-C ends it all.")
        worker.process.wait()
        console.print(f"[red]the worker has ended by itself[/]; see {worker.log}")
        sys.exit(1)


@contextmanager
def flower(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run Flower as long as this lasts; gives its URL, user and password in it."""
    port, password = free_port(), secrets.token_urlsafe(9)
    command = [sys.executable, "-c", "from postroom.cli import main; main()", "flower", f"--port={port}"]
    with (folder / "flower.log").open("ab") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment, "FLOWER_BASIC_AUTH": f"postroom:{password}"},
            start_new_session=True,
            preexec_fn=dying_with_parent(),
        )
    try:
        yield f"http://postroom:{password}@127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
