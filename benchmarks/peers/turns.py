"""What the client of a row does: it says that it is ready, then sends as many letters as each line it reads tells.

It answers each line when its part is done: all are queued or, where there is no queue, sent.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

Letters = Sequence[Any]

SMTP_PORT = int(os.environ["BENCH_SMTP_PORT"])
REDIS_URL = os.environ["BENCH_REDIS_URL"]
CA_FILE = os.environ["BENCH_CA_FILE"]
"""Whom to trust with STARTTLS; empty is no TLS."""


def take_turns(send: Callable[[Letters], object], prepare: Callable[[dict[str, Any]], Any] = dict) -> None:
    """Serve the runner until it hangs up.

    Args:
        send: is timed. It takes what `prepare` made of the letters.
        prepare: what an application would have at hand before it sends; not timed. By default the letter as a dict
            of JSON's types.
    """
    with Path(os.environ["BENCH_LETTERS"]).open() as file:
        letters = iter([prepare(json.loads(line)) for line in file])
    print("ready", flush=True)
    for line in sys.stdin:
        send(list(islice(letters, int(line))))
        print("done", flush=True)


def attachment(letter: dict[str, Any]) -> bytes | None:
    """The octets of a letter's attachment, if it has one."""
    return base64.b64decode(letter["attachment"]) if letter["attachment"] else None
