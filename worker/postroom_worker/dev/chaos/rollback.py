"""A restart from an append-only file that was cut short: what was written last is undone, and what follows from it.

Nobody can undo what a relay took or a caller was told. So this is a class of loss of its own: a letter whose receipt is
worth nothing any more, and a recipient who was accepted, and is mailed again. All of them are named before the workers
go on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postroom_worker.dev.chaos.accounts import Accounts, accounts
from postroom_worker.dev.chaos.stage import Stage

Recipient = tuple[str, str]
"""A letter's id, and an address."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What was undone."""

    lost: frozenset[str]
    """Letters that callers have receipts for, and that are gone."""
    again: frozenset[Recipient]
    """Who was accepted, and is to be mailed again."""
    before: dict[Recipient, int]
    """How often the relays had accepted those who are open now: what the ledger no longer tells."""

    def after(self, on: Stage, receipts: Collection[str]) -> Accounts:
        """Put the accounts side by side once more, without what was undone."""
        taken = {
            each: copies - self.before.get(each, 0) for each, copies in on.taken.items() if each[0] not in self.lost
        }
        return accounts(on.ledger, [each for each in receipts if each not in self.lost], taken, on.refused)

    def told(self) -> str:
        """Return it in words."""
        return f"{len(self.lost)} letters gone with their receipts, {len(self.again)} recipients mailed again"


def roll_back(on: Stage, before: Accounts, octets: int) -> RolledBack:
    """Restart the ledger's Redis from so many octets of its file while the workers sleep, and name what is undone.

    Args:
        on: where all letters are settled.
        before: its accounts.
        octets: what is left of the file.
    """
    with _asleep(on):
        on.ledger_server.kill()
        os.truncate(file(on), octets)
        on.ledger_server.restart()
        found = accounts(on.ledger, before.receipts, on.taken, on.refused)
    is_open = {(row.letter_id, row.address): row.copies for row in found.rows if row.status.state.is_open}
    accepted = {(row.letter_id, row.address) for row in before.rows if row.accepted}
    return RolledBack(
        lost=frozenset(before.letters.keys() - found.letters.keys()),
        again=frozenset(accepted & is_open.keys()),
        before=is_open,
    )


def file(on: Stage) -> Path:
    """Return the file that the ledger's Redis appends to."""
    [path] = on.ledger_server.folder.glob("appendonlydir/*.incr.aof")
    return path


@contextmanager
def _asleep(on: Stage) -> Iterator[None]:
    for worker in on.workers.values():
        os.killpg(worker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in on.workers.values():
            os.killpg(worker.process.pid, signal.SIGCONT)
