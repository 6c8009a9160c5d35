"""What a ledger costs as it grows: letters a second, memory, operators' commands.

Each size has a fresh Redis, filled through the ledger's own verbs with letters that went their way: of a hundred 90 are
sent, 5 failed, 3 deferred, 1 is held and 1 scheduled. Then a worker delivers some more, and the commands run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import usage
from machine import environment
from post import BODY, Post, post
from postroom import Letter, LetterState, RecipientState, Settings
from postroom.ledger import Claim, Finish, Ledger, Recipient, views
from postroom.sending import new_letter

SIZES = (0, 100_000)
DELIVERED = 2_000
_AT_ONCE = 500
_DAY_MS = 86_400_000
_WORDS = {RecipientState.ACCEPTED: "250 2.0.0 taken", RecipientState.REFUSED: "550 5.1.1 no such user"}
COMMANDS = {
    "list": "list",
    "list --state sent": "list --state sent",
    "list --tag (all failed)": "list --state failed --tag nobody",
    "show": "show {id}",
    "explain": "explain {id}",
    "stats": "stats",
    "watch, one look": "watch --times 1 --json",
    "tail": "tail --no-follow",
    "retry --dry-run (all failed)": "retry --state failed --dry-run",
    "retry --code --dry-run": "retry --state deferred --code 4xx --dry-run",
    "doctor": "doctor --timeout 0.2",
}


@dataclass(frozen=True, slots=True)
class Grown:
    """What was measured at one size."""

    letters: int
    fill_per_s: float
    octets_a_letter: float
    """Of Redis's memory."""
    letters_per_s: float
    """Delivered by one worker of two processes."""
    redis_us: float
    """CPU of Redis for one of those; and of the worker."""
    worker_us: float
    commands_s: dict[str, float]
    """CPU, of Redis too: what others do on the machine does not count."""


def main() -> None:
    """Measure each size, and print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("sizes", nargs="*", type=int, default=SIZES, help="letters that are there before")
    asked.add_argument("--json", type=Path, help="write everything to this file, too")
    options = asked.parse_args()
    found = [_measure(size) for size in options.sizes]
    about = environment("redis", "celery")
    if options.json:
        options.json.write_text(json.dumps({"environment": about, "sizes": [asdict(each) for each in found]}, indent=1))
    print(*(f"{name}: {value}" for name, value in about.items()), sep="\n", end="\n\n")
    print(*_table(found), sep="\n")


def _measure(size: int) -> Grown:
    with post() as here:
        before = _memory(here)
        began_s = time.perf_counter()
        fill(here.ledger, here.client.settings, size)
        took_s = time.perf_counter() - began_s
        octets = (_memory(here) - before) / size if size else 0.0
        commands = {name: _run(command, here) for name, command in COMMANDS.items()}
        redis = here.ledger_server.process.pid
        with here.worker() as worker:
            redis_s, worker_s = usage.cpu_s(redis), usage.cpu_s(worker)
            rate = here.deliver(DELIVERED)
            us = 1e6 / DELIVERED
            redis_us, worker_us = (usage.cpu_s(redis) - redis_s) * us, (usage.cpu_s(worker) - worker_s) * us
    return Grown(size, size / took_s, octets, rate, redis_us, worker_us, commands)


def _memory(here: Post) -> int:
    return int(here.info("memory")["used_memory"])


def fill(ledger: Ledger, settings: Settings, number: int) -> None:
    """Put so many letters into a ledger, each where it would have come to."""
    places = iter(range(number))
    while some := list(islice(places, _AT_ONCE)):
        letters = [
            Letter(f"a{each}@d{each % 50}.example", BODY, subject=f"Letter {each}", settings=settings) for each in some
        ]
        ledger.accept_all([new_letter(letter, settings)[0] for letter in letters])
        claims = [each for each in ledger.claim([letter.id for letter in letters], "filler") if isinstance(each, Claim)]
        ledger.record([(claim, _end(claim, place)) for claim, place in zip(claims, some, strict=True)], [])


def _end(claim: Claim, place: int) -> Finish:
    state = _state(place % 100)
    recipient = {
        LetterState.SENT: RecipientState.ACCEPTED,
        LetterState.FAILED: RecipientState.REFUSED,
    }.get(state, RecipientState.DEFERRED)
    reply = _WORDS.get(recipient, "451 4.7.1 greylisted")
    recipients = [Recipient(each.address, recipient, reply, 1) for each in claim.recipients]
    told = [{"address": each.address, "state": recipient, "reply": reply} for each in recipients]
    event = {"event": "attempt", "relay": "default", "state": state, "why": "", "took_ms": 12, "recipients": told}
    return Finish(
        state=state,
        wait_ms=7 * _DAY_MS,
        recipients=recipients,
        attempts=1,
        uncertain=0,
        pauses=0,
        reason="",
        event=event,
    )


def _state(percent: int) -> LetterState:
    for state, until in ((LetterState.SENT, 90), (LetterState.FAILED, 95), (LetterState.DEFERRED, 98)):
        if percent < until:
            return state
    return LetterState.HELD


def _run(command: str, here: Post) -> float:
    """Seconds of CPU that a command takes, its start and Redis's share included; those without a worker may fail."""
    some = next(_any(here.ledger), "none")
    redis = here.ledger_server.process.pid
    before_s = usage.cpu_s(redis)
    process = subprocess.Popen(
        [Path(sys.executable).with_name("postroom"), *command.format(id=some).split()],
        env={"LANG": "C.UTF-8", **here.variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    spent = os.wait4(process.pid, 0)[2]
    return spent.ru_utime + spent.ru_stime + usage.cpu_s(redis) - before_s


def _any(ledger: Ledger) -> Iterator[str]:
    return (each.id for each in views.listing(ledger, LetterState.DEFERRED))


def _table(found: list[Grown]) -> Iterator[str]:
    yield "| letters there | " + " | ".join(f"{each.letters:,}" for each in found) + " |"
    yield "| --- |" + " ---: |" * len(found)
    yield "| filled, letters/s | " + " | ".join(f"{each.fill_per_s:,.0f}" for each in found) + " |"
    yield "| memory, octets a letter | " + " | ".join(f"{each.octets_a_letter:,.0f}" for each in found) + " |"
    yield "| delivered, letters/s | " + " | ".join(f"{each.letters_per_s:,.0f}" for each in found) + " |"
    yield "| of it CPU of Redis, µs | " + " | ".join(f"{each.redis_us:,.0f}" for each in found) + " |"
    yield "| of it CPU of the worker, µs | " + " | ".join(f"{each.worker_us:,.0f}" for each in found) + " |"
    for name in COMMANDS:
        yield f"| `{name}`, CPU s | " + " | ".join(f"{each.commands_s[name]:.2f}" for each in found) + " |"


if __name__ == "__main__":
    main()
