"""The receipt that a caller gets for a letter: asks the ledger what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from postroom import clock, operate
from postroom.ledger import Ledger, LetterStatus
from postroom.ledger.views import status

_FIRST_LOOK_S = 0.02
_LOOK_MAX_S = 0.5


@dataclass(frozen=True, slots=True)
class Receipt:
    """A letter that was accepted."""

    id: str
    """The letter's id, which is also its Celery task's."""
    _ledger: Ledger

    def status(self) -> LetterStatus:
        """Return what became of the letter so far, recipient by recipient.

        Raises:
            UnknownLetter: its retention is over.
            LedgerUnavailable: Redis is away.
        """
        return status(self._ledger, self.id)

    def wait(self, timeout_s: float = 60.0) -> LetterStatus:
        """Wait until nothing more will happen to the letter by itself (or it is held), and return its status.

        Args:
            timeout_s: seconds to wait at most; then the status is returned as it is.

        Raises:
            UnknownLetter: its retention is over.
            LedgerUnavailable: Redis is away.
        """
        deadline = clock.steady_s() + timeout_s
        look_s = _FIRST_LOOK_S
        while True:
            current = self.status()
            left_s = deadline - clock.steady_s()
            if current.state.is_settled or left_s <= 0:
                return current
            clock.pause(min(look_s, left_s))
            look_s = min(look_s * 1.5, _LOOK_MAX_S)

    def cancel(self) -> LetterStatus:
        """Cancel the letter for every recipient not served yet, and return its status.

        Raises:
            TooLate: it is being sent, or all of it is decided.
            UnknownLetter: its retention is over.
            LedgerUnavailable: Redis is away.
        """
        operate.cancel(self._ledger, self.id)
        return self.status()
