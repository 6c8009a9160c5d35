"""Where the CPU goes, of those who send and of the worker: ``python benchmarks/profiled.py [--letters N]``.

py-spy looks at all processes many times a second while letters go in bulk; each look at one that is on the CPU counts
for the innermost subject that is at work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from environments import FOLDER
from machine import environment
from post import post

_LETTERS = 20_000
_RATE = 250
_SIDES = {"turn.py": "the worker", "sending.py": "who sends"}
"""By the file that is further out: whose time it is."""
_WAITS = frozenset({"_wait_for_tstate_lock", "wait", "_wait", "pause"})
"""Who is seen in these is on no CPU."""
_SUBJECTS = {
    "wire.py": "writing to the relay, and reading from it",
    "flight.py": "transactions",
    "transaction.py": "transactions",
    "submission.py": "transactions",
    "smtp/content.py": "transactions",
    "scripts.py": "the ledger: packing, waiting for the socket, unpacking",
    "transitions.py": "the ledger: packing, waiting for the socket, unpacking",
    "kept_letter.py": "reading letters from the ledger",
    "letter_json.py": "letters as JSON",
    "compose.py": "composing",
    "render.py": "composing",
    "part.py": "checking letters",
    "letter.py": "checking letters",
    "keywords.py": "checking letters",
    "bell.py": "Celery and kombu",
    "settlement.py": "settling",
    "outbox.py": "settling",
    "lane.py": "settling",
}
"""By file: what its time is spent on, that of the files below it too."""


def main() -> None:
    """Record a run of this very program, and print what was seen."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--letters", type=int, default=_LETTERS)
    options.add_argument("--run", action="store_true", help="send, with nobody looking")
    asked = options.parse_args()
    if asked.run:
        with post() as here, here.worker():
            here.deliver(asked.letters)
        return
    seen = FOLDER / "profile.txt"
    seen.parent.mkdir(exist_ok=True)
    look = ["py-spy", "record", "--subprocesses", "--rate", str(_RATE), "--format", "raw", "--output", str(seen)]
    run = [sys.executable, __file__, "--run", "--letters", str(asked.letters)]
    subprocess.run([*look, "--", *run], check=True, stdout=subprocess.DEVNULL)
    print(*(f"{name}: {value}" for name, value in environment("py-spy").items()), sep="\n")
    for side, shares in _shares(_stacks(seen)).items():
        whole = sum(shares.values())
        print(f"\n| {side}: {1e6 * whole / _RATE / asked.letters:.0f} µs a letter | % |\n| --- | ---: |")
        for subject, looks in shares.most_common():
            print(f"| {subject} | {100 * looks / whole:.0f} |")


def _stacks(seen: Path) -> Iterator[tuple[list[str], int]]:
    """What was seen how often: frames, the outermost first, as ``function (file:line)``."""
    for line in seen.read_text().splitlines():
        stack, _, looks = line.rpartition(" ")
        yield stack.split(";"), int(looks)


def _shares(stacks: Iterable[tuple[list[str], int]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {side: Counter() for side in _SIDES.values()}
    for frames, looks in stacks:
        side = _found(_SIDES, frames)
        if side and frames[-1].partition(" (")[0].rpartition(".")[2] not in _WAITS:
            found[side][_found(_SUBJECTS, reversed(frames)) or "the rest"] += looks
    return found


def _found(words: dict[str, str], frames: Iterable[str]) -> str:
    """What the first file stands for that stands for something."""
    files = (frame.rpartition("(")[2].partition(":")[0] for frame in frames)
    return next((words[end] for file in files for end in words if file.endswith(f"/{end}")), "")


if __name__ == "__main__":
    main()
