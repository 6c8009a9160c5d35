"""Postfix's load generator, in C: letters of a fixed content, on eight connections that are kept. The limit."""

from __future__ import annotations

import subprocess

from turns import SMTP_PORT, Letters, take_turns

_SESSIONS, _OCTETS = 8, 3000


def send(letters: Letters) -> None:
    envelope = ["-f", "shop@example.org", "-t", "reader@example.com"]
    how_many = ["-s", str(min(_SESSIONS, len(letters))), "-m", str(len(letters)), "-l", str(_OCTETS)]
    subprocess.run(["smtp-source", "-d", *how_many, *envelope, f"127.0.0.1:{SMTP_PORT}"], check=True)


take_turns(send)
