"""The command, run as a script or an operator does."""

from __future__ import annotations

import json
import os
import pty
import sys
from typing import Any

from click.testing import CliRunner, Result

from house import House
from postroom.cli import main


def postroom(house: House, *arguments: str, stdin: str | bytes = "") -> Result:
    """Run the command, as a script does: there is no terminal."""
    environment: dict[str, str | None] = {**house.environment, "COLUMNS": "100"}
    return CliRunner().invoke(main, arguments, env=environment, input=stdin)


def done(house: House, *arguments: str, stdin: str | bytes = "") -> str:
    """Run the command, which has to succeed; returns what it printed."""
    result = postroom(house, *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def objects(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def in_a_terminal(house: House, *arguments: str, answer: str) -> tuple[int, str]:
    """Run the command in a terminal, and answer its question; returns exit status and what the terminal showed."""
    child, terminal = pty.fork()
    if not child:
        program = "import sys; from postroom.cli import main; main(sys.argv[1:])"
        os.execve(sys.executable, [sys.executable, "-c", program, *arguments], {**os.environ, **house.environment})
    shown = b""
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the command has ended
            break
        shown += read
        if answer and shown.rstrip().endswith(b"[y/N]:"):
            os.write(terminal, answer.encode())
            answer = ""
        if not read:
            break
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()
