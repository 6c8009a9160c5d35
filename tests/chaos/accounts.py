"""The three accounts of a chaos run, and how they have to agree: the callers' receipts, the ledger's, the relay's own.

A window is a time in which the outcome was open, as the letter's history tells it: an attempt that got no clear answer
to the end of the content, or a claim that ran out there. In each, those who were open may have been mailed: that alone
explains a copy at the relay beside the one that the ledger calls accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from postroom import LetterState, RecipientState, RecipientStatus
from postroom.ledger import Account, Ledger, views
from postroom.ledger.record import text

UNCERTAIN = "uncertain"
DECIDED = (RecipientState.ACCEPTED, RecipientState.REFUSED)


@dataclass(frozen=True, slots=True)
class Row:
    """One recipient, in the ledger and at the relay."""

    letter_id: str
    address: str
    letter: LetterState
    policy: str
    status: RecipientStatus
    windows: int
    """In how many it was open."""
    letter_windows: int
    """How many its letter had."""
    copies: int
    """How often the relay took it."""
    is_refused: bool
    """The relay refused it for good."""

    @property
    def accepted(self) -> int:
        """1 when the ledger calls it accepted."""
        return int(self.status.state is RecipientState.ACCEPTED)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with it."""
        is_held = self.letter is LetterState.HELD
        if self.status.state not in DECIDED and not (is_held and self.status.state.is_open):
            yield f"it is {self.status.state}"
        if self.copies < self.accepted:
            yield "LOST: the ledger calls it accepted, and the relay never took it"
        if self.copies > self.accepted + self.windows:
            yield f"DOUBLED: {self.copies} copies, in {self.windows} windows"
        if self.policy == "hold" and self.copies > 1:
            yield f"DOUBLED under the policy hold: {self.copies} copies"
        if self.status.state is RecipientState.REFUSED and not self.is_refused:
            yield "LOST: the ledger calls it refused, and the relay never refused it"
        if is_held and not self.letter_windows:
            yield "its letter is held, and had no window"


@dataclass(frozen=True, slots=True)
class Accounts:
    """All three, once everything is settled."""

    receipts: Collection[str]
    """The ids of the letters that callers were told are accepted."""
    letters: Mapping[str, LetterState]
    """The letters in the ledger."""
    places: Mapping[str, Collection[LetterState]]
    """The indexes that a letter is in."""
    rows: Collection[Row]
    strangers: Collection[tuple[str, str]]
    """What the relay took, and the ledger does not know."""

    def problems(self) -> list[str]:
        """Return everything in which the accounts do not agree."""
        found = [f"{each}: LOST: a caller has its receipt" for each in self.receipts if each not in self.letters]
        found += [f"{each}: nobody has a receipt" for each in self.letters if each not in self.receipts]
        found += [f"{letter_id}: never handed in, and sent to {address}" for letter_id, address in self.strangers]
        found += [
            f"{each}: {state}, and in the indexes {', '.join(self.places[each]) or 'none'}"
            for each, state in self.letters.items()
            if not state.is_settled or list(self.places[each]) != [state]
        ]
        return found + [f"{row.letter_id} to {row.address}: {each}" for row in self.rows for each in row.problems()]

    def __str__(self) -> str:
        states = ", ".join(f"{number} {state}" for state, number in sorted(Counter(self.letters.values()).items()))
        accepted, copies = sum(row.accepted for row in self.rows), sum(row.copies for row in self.rows)
        windows = sum(row.windows for row in self.rows)
        held = sum(row.copies for row in self.rows if not row.accepted)
        return (
            f"receipts  {len(self.receipts)} letters\n"
            f"ledger    {len(self.letters)} letters: {states}; {len(self.rows)} recipients, {accepted} accepted\n"
            f"relay     {copies} copies: {accepted} accepted, {copies - accepted - held} doubled and {held} unknown"
            f" in {windows} windows of recipients"
        )


def accounts(ledger: Ledger, receipts: Collection[str], taken: Counter[tuple[str, str]], refused: set[str]) -> Accounts:
    """Read the ledger's account, and put all three side by side."""
    places: dict[str, list[LetterState]] = {}
    for state in LetterState:
        for letter_id, _ in ledger.redis.zscan_iter(ledger.keys.index(state, 0)):
            places.setdefault(letter_id.decode(), []).append(state)
    rows = [row for letter_id in places for row in _rows(ledger, letter_id, taken, refused)]
    known = {(row.letter_id, row.address) for row in rows}
    return Accounts(
        receipts=set(receipts),
        letters={row.letter_id: row.letter for row in rows},
        places=places,
        rows=rows,
        strangers=[each for each in taken if each not in known],
    )


def _rows(ledger: Ledger, letter_id: str, taken: Counter[tuple[str, str]], refused: set[str]) -> Iterator[Row]:
    account = views.account(ledger, letter_id)
    policy = text(ledger.redis.hget(ledger.keys.letter(letter_id), "on_uncertain"))
    windows, of_letter = windows_of(account)
    for address, status in account.status.recipients.items():
        copies = taken[letter_id, address]
        state = account.status.state
        yield Row(letter_id, address, state, policy, status, windows[address], of_letter, copies, address in refused)


def windows_of(account: Account) -> tuple[Counter[str], int]:
    """Return in how many windows each recipient was, by its letter's history, and how many there were."""
    is_open = set(account.status.recipients)
    windows: list[set[str]] = []
    for event in account.history:
        if event["event"] == UNCERTAIN:
            windows.append(set(is_open))
        elif event["event"] == "attempt":
            recipients: list[dict[str, Any]] = event["recipients"]
            windows.append({each["address"] for each in recipients if each["reply"].startswith(UNCERTAIN)})
            is_open -= {each["address"] for each in recipients if each["state"] in DECIDED}
    return Counter(address for window in windows for address in window), sum(map(bool, windows))
