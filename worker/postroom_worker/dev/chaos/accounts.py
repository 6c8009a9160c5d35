"""The three accounts of a chaos run, and how they have to agree: the callers' receipts, the ledger's, the relays' own.

A window is a time in which the outcome was open, as the letter's history tells it: an attempt that got no clear answer
to the end of the content, or a claim that ran out there. In each, those who were open may have been mailed: that alone
explains a copy at a relay beside the one that the ledger calls accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from postroom import LetterState, RecipientState, RecipientStatus
from postroom.ledger import Account, Ledger, views

UNCERTAIN = "uncertain"
ANSWERED = (RecipientState.ACCEPTED, RecipientState.REFUSED)


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
    """How often the relays took it."""
    copies_max: int
    """How often they may have: each uncertain attempt is bounded, anew after each retry by an operator."""
    is_refused: bool
    """A relay refused it for good."""
    was_cancelled: bool
    """An operator cancelled its letter."""

    @property
    def accepted(self) -> int:
        """1 when the ledger calls it accepted."""
        return int(self.status.state is RecipientState.ACCEPTED)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with it."""
        state, is_held = self.status.state, self.letter is LetterState.HELD
        is_cancelled = state is RecipientState.CANCELLED and self.was_cancelled
        if state not in ANSWERED and not is_cancelled and not (is_held and state.is_open):
            yield f"it is {state}"
        if state is RecipientState.REFUSED and not self.is_refused:
            yield "LOST: the ledger calls it refused, and no relay refused it"
        if is_held and not self.letter_windows:
            yield "its letter is held, and had no window"
        yield from self._miscounts()

    def _miscounts(self) -> Iterator[str]:
        if self.copies < self.accepted:
            yield "LOST: the ledger calls it accepted, and no relay took it"
        if self.copies > self.accepted + self.windows:
            yield f"DOUBLED: {self.copies} copies, in {self.windows} windows"
        if self.policy == "hold" and self.copies > 1:
            yield f"DOUBLED under the policy hold: {self.copies} copies"
        if self.copies > self.copies_max:
            yield f"{self.copies} copies, and {self.copies_max} are the bound"


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
    """What a relay took, and the ledger does not know."""

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

    def told(self) -> dict[str, str]:
        """Return each account in words."""
        states = ", ".join(f"{number} {state}" for state, number in sorted(Counter(self.letters.values()).items()))
        accepted, copies = sum(row.accepted for row in self.rows), sum(row.copies for row in self.rows)
        windows = sum(row.windows for row in self.rows)
        open_ = sum(row.copies for row in self.rows if not row.accepted)
        return {
            "receipts": f"{len(self.receipts)} letters",
            "ledger": f"{len(self.letters)} letters: {states}; {len(self.rows)} recipients, {accepted} accepted",
            "relays": f"{copies} copies: {accepted} accepted, {copies - accepted - open_} doubled "
            f"and {open_} unknown in {windows} windows",
        }


def accounts(
    ledger: Ledger, receipts: Collection[str], taken: Mapping[tuple[str, str], int], refused: Set[str]
) -> Accounts:
    """Read the ledger's account, and put all three side by side.

    Args:
        ledger: whose account.
        receipts: the ids of the letters that callers were told are accepted.
        taken: how often the relays accepted each recipient, by the letter's id and address.
        refused: the addresses that a relay refused for good.
    """
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
        strangers=[each for each, copies in taken.items() if copies and each not in known],
    )


def _rows(ledger: Ledger, letter_id: str, taken: Mapping[tuple[str, str], int], refused: Set[str]) -> Iterator[Row]:
    account = views.account(ledger, letter_id)
    policy = views.circumstances(ledger, letter_id).on_uncertain
    windows, of_letter = windows_of(account)
    events = Counter(event["event"] for event in account.history)
    for address, status in account.status.recipients.items():
        yield Row(
            letter_id=letter_id,
            address=address,
            letter=account.status.state,
            policy=policy,
            status=status,
            windows=windows[address],
            letter_windows=of_letter,
            copies=taken.get((letter_id, address), 0),
            copies_max=1 + ledger.times.uncertain_max * (1 + events["retried"]),
            is_refused=address in refused,
            was_cancelled=events["cancelled"] > 0,
        )


def windows_of(account: Account) -> tuple[Counter[str], int]:
    """Return in how many windows each recipient was, by its letter's history, and how many there were."""
    is_open, accepted = set(account.status.recipients), set[str]()
    windows: list[set[str]] = []
    for event in account.history:
        if event["event"] == UNCERTAIN:
            windows.append(set(is_open))
        elif event["event"] == "retried":
            is_open = set(account.status.recipients) - accepted
        elif event["event"] in ("attempt", "testified"):
            recipients: list[dict[str, Any]] = event["recipients"]
            windows.append({each["address"] for each in recipients if each["reply"].startswith(UNCERTAIN)})
            is_open -= {each["address"] for each in recipients if each["state"] in ANSWERED}
            accepted |= {each["address"] for each in recipients if each["state"] == RecipientState.ACCEPTED}
    return Counter(address for window in windows for address in window), sum(map(bool, windows))
