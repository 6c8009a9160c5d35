"""Into how many partitions a ledger was begun: with another number its letters would not be found."""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom.errors import LedgerUnavailable
from postroom.ledger.cluster import Client
from postroom.ledger.keys import Keys
from postroom.ledger.record import text
from postroom.states import LetterState


@dataclass(slots=True)
class Layout:
    """Compares the number with what the first to come wrote down; asks once."""

    redis: Client
    keys: Keys
    _is_right: bool = field(default=False)

    def check(self) -> None:
        """Return if the ledger has as many partitions as we think.

        Raises:
            LedgerUnavailable: it has not; nothing may be read or written.
        """
        if self._is_right:
            return
        found = self._begun() or (self._begin() if self.keys.partitions > 1 else 1)
        if found != self.keys.partitions:
            raise LedgerUnavailable(
                f"the ledger has {found} partitions, and POSTROOM_PARTITIONS says {self.keys.partitions}: "
                "it has to be the same for all who use a ledger, from its first letter on",
                is_alert=True,
            )
        self._is_right = True

    def _begun(self) -> int:
        key = self.keys.layout()
        begun = text(self.redis.get(key)) or "0"
        if not begun.isdecimal():
            raise LedgerUnavailable(
                f"{key} is not a number, so somebody else has written to it: set it to the number of partitions that "
                "the ledger was begun with, and delete it when that was one",
                is_alert=True,
            )
        return int(begun)

    def _begin(self) -> int:
        """Write it down, if nobody did meanwhile; one partition is never written down."""
        if any(self.redis.exists(self.keys.index(state, 0)) for state in LetterState):
            return 1
        self.redis.set(self.keys.layout(), self.keys.partitions, nx=True)
        return self._begun()
