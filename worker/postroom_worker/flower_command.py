"""``postroom flower``: the monitor, on loopback, behind a password, with the operator's tasks."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import click

from postroom.cli import output
from postroom.cli.desk import Desk, pass_desk
from postroom.settings import process_settings
from postroom_worker import monitor
from postroom_worker.app import app
from postroom_worker.operator_tasks import ACTS

_USER = "postroom"
_PASSWORD_FILE = Path(".postroom/flower.password")
_COLUMNS = "name,uuid,args,state,exception,received"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--address", default="127.0.0.1", show_default=True, envvar="FLOWER_ADDRESS", help="Where to listen.")
@click.option("--port", default=5555, show_default=True, envvar="FLOWER_PORT", help="Where to listen.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=_PASSWORD_FILE,
    show_default=True,
    help="Holds the password of the user postroom; made, with a new one, if it is missing. "
    "Not looked at when FLOWER_BASIC_AUTH=user:password is set.",
)
@click.option("--read-only", is_flag=True, envvar="FLOWER_READ_ONLY", help="Start no operator's tasks either.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@pass_desk
def flower(
    desk: Desk, /, address: str, port: int, password_file: Path, read_only: bool, options: tuple[str, ...]
) -> None:
    """Run Flower, where every letter is a row: what became of it, and what the relay said.

    Its API starts the operator's tasks, and nothing else. Further OPTIONS are Flower's own, such as --url-prefix=mail.
    """
    if desk.postroom.settings.broker != process_settings().broker:
        raise click.UsageError("Flower reads the environment: set POSTROOM_REDIS_URL in place of --redis-url")
    if not os.environ.get("FLOWER_BASIC_AUTH"):
        os.environ["FLOWER_BASIC_AUTH"] = f"{_USER}:{_password(password_file)}"
        output.note(f"user {_USER}, password in {password_file}")
    os.environ.setdefault("FLOWER_TASKS_COLUMNS", _COLUMNS)
    monitor.guard(frozenset() if read_only else frozenset(ACTS))
    output.note(f"Flower listens at http://{address}:{port}")
    app.start(["flower", f"--address={address}", f"--port={port}", *options, "--read-only"])


def _password(file: Path) -> str:
    """Return the password that a file holds; a new one if there is no file yet.

    Raises:
        ClickException: others can read it, or it is empty, or cannot be read.
    """
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(secrets.token_urlsafe(18) + "\n")
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise click.ClickException(f"others can read {file}: chmod 600 it, or remove it for a new password")
        password = file.read_text("utf-8").strip()
    except OSError as error:
        raise click.ClickException(f"{file} cannot be used ({error.strerror}): give another --password-file") from None
    if not password or "," in password:
        raise click.ClickException(f"{file} has to hold a password without a comma: Flower would take it for two")
    return password
