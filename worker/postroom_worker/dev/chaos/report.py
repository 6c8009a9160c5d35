"""Showing what a chaos run came to: the faults, the accounts, and what is wrong."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from postroom_worker.dev.chaos.run import Report

_PROBLEMS_SHOWN = 20


def show(console: Console, report: Report) -> None:
    """Print how often each fault bit, the three accounts, and the verdict."""
    faults = Table.grid(padding=(0, 2))
    for name, times in report.bit.items():
        faults.add_row(Text(str(times), justify="right", style="" if times else "red"), name)
    console.print(faults)
    told = Table.grid(padding=(0, 2))
    for account, words in report.told().items():
        told.add_row(Text(account, style="bold"), words)
    console.print("", told, "")
    problems = report.problems()
    for problem in problems[:_PROBLEMS_SHOWN]:
        console.print(Text.assemble(("✗ ", "red"), problem), soft_wrap=True)
    if len(problems) > _PROBLEMS_SHOWN:
        console.print(f"  and {len(problems) - _PROBLEMS_SHOWN} more")
    if not problems:
        console.print(
            Text.assemble(("✓ ", "green"), "nothing is lost, and nobody was mailed twice but where the ledger says so")
        )
