"""Many letters, every fault, three accounts: nothing is lost, and nobody is mailed twice but where the ledger says so.

The seed is printed when the run fails; ``CHAOS_SEED=… CHAOS_LETTERS=… make chaos`` plays the same script again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import pytest

from chaos.accounts import Accounts, accounts
from chaos.faults import FAULTS, Faults, script
from chaos.stage import Stage, stage
from postroom import LedgerUnavailable, Letter, LetterState, PartlySent, Postroom, Receipt, operate
from postroom.ledger import Ledger, views
from postroom.ledger.connection import FOREVER_MS
from postroom_worker.dev.server import wait_until

LETTERS = int(os.environ.get("CHAOS_LETTERS", "60"))
SEED = int(os.environ.get("CHAOS_SEED") or (77 if os.environ.get("CI") else Random().randrange(10_000)))
"""A change is judged by the same script each time; developers play others."""
BUSY = 30
"""How many letters the workers have before them, at most."""
QUIET_PART = 1 / 12
"""How often they have none before the next comes."""
PROBLEMS_SHOWN = 20
PATIENCE_S = 60 + LETTERS / 2
FILES = {name: Random(name).randbytes(size) for name, size in {"small": 2_000, "large": 120_000}.items()}


@pytest.mark.timeout(2 * PATIENCE_S)
def test_three_accounts_agree_whatever_goes_wrong(tmp_path: Path) -> None:
    print(f"\nseed      {SEED}")
    with stage(tmp_path) as on:
        times = max(1, LETTERS // 250)
        faults = Faults(on, script(SEED, LETTERS, times))
        on.relay.disturb = faults.disturb
        for name in ("ann", "ben"):
            on.start(name)
        receipts = send(on, faults, Random(SEED))
        with contextlib.suppress(TimeoutError):  # what is not settled then, the accounts tell
            wait_until(lambda: not faults.is_striking and unsettled(on.house.ledger) == 0, "all is settled", PATIENCE_S)
        found = accounts(on.house.ledger, receipts, on.relay.account, on.relay.refused)
        show(faults, found)
        assert found.problems() == []
        assert faults.left == [], "each fault bit"
        assert [name for name, each in on.workers.items() if each.process.poll() is not None] == [], "no worker exited"
        assert "Unrecoverable error" not in on.logs()
        assert left_over(on) == []


def letters(random: Random) -> Iterator[Letter]:
    """Yield letters to one, two or three, of either policy; some carry octets that are kept beside them."""
    for number in count():
        names = random.choices(("ok", "grey", "refused"), (8, 1, 1), k=random.randint(1, 3))
        files = [(name, FILES[name]) for name in random.choices(("", "small", "large"), (6, 1, 1)) if name]
        yield Letter(
            [f"{name}-{number}-{place}@example.com" for place, name in enumerate(names)],
            f"letter {number}",
            from_="bob@example.org",
            attachments=files,
            on_uncertain=random.choice(("resend", "hold")),
        )


def send(on: Stage, faults: Faults, random: Random) -> list[str]:
    """Hand letters in, one by one and in bulk, in quiet and in busy times; returns the receipts' ids.

    When all are, and faults are left that found nothing to bite yet, there are some more.
    """
    receipts: list[str] = []
    source = letters(random)
    while len(receipts) < LETTERS or (faults.has_more and len(receipts) < 2 * LETTERS):
        is_quiet = random.random() < (QUIET_PART if len(receipts) < LETTERS else 0.5)
        wait_for_room(on.house.ledger, 1 if is_quiet else BUSY)
        some = list(islice(source, random.choice((1, 1, 1, random.randint(2, 12)))))
        receipts += [each.id for each in hand_in(on.house.postroom, some)]
    return receipts


def wait_for_room(ledger: Ledger, most: int) -> None:
    """Wait until fewer letters than so many are not settled."""
    wait_until(lambda: unsettled(ledger) < most, "the workers go on", PATIENCE_S)


def hand_in(postroom: Postroom, some: list[Letter]) -> list[Receipt]:
    """Hand letters in, as a caller who tries again until it is told that they are accepted."""

    def receipts() -> list[Receipt]:
        try:
            return postroom.send_letters(some) if len(some) > 1 else [postroom.send(some[0])]
        except (LedgerUnavailable, PartlySent):
            return []

    return wait_until(receipts, "Redis takes them")


def unsettled(ledger: Ledger) -> float:
    """Return to how many letters something will still happen by itself."""
    try:
        return sum(number for state, number in views.counts(ledger).items() if not state.is_settled)
    except LedgerUnavailable:
        return float("inf")


def show(faults: Faults, found: Accounts) -> None:
    """Print the run's faults and its accounts."""
    for fault in FAULTS:
        print(f"{faults.bit[fault.name]:9} {fault.name}")
    print(f"{found}; {faults.stage.relay.begun} transactions")
    for problem in found.problems()[:PROBLEMS_SHOWN]:
        print(f"PROBLEM   {problem}")


def left_over(on: Stage) -> list[str]:
    """Have every letter forgotten, and return the keys of the ledger that are there even so."""
    ledger = on.house.ledger
    for held in views.scan(ledger, LetterState.HELD):
        operate.cancel(ledger, held.id)
    for state in LetterState:
        for letter in views.scan(ledger, state):
            ledger.forget(letter.id, state, early_ms=FOREVER_MS)
    keys = [key.decode() for key in on.redis.scan_iter("postroom:*", count=1000)]
    return [key for key in keys if not key.startswith(("postroom:{relay-", "postroom:{0}:events", "postroom:workers"))]
