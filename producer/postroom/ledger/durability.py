"""What `POSTROOM_DURABILITY=synced` waits for: that what was written is on Redis's disk, and on its replicas'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from postroom.errors import LedgerUnavailable
from postroom.ledger.scripts import Call, Scripts

_WAIT_MS = 4000


@dataclass(frozen=True, slots=True)
class Durability:
    """Waits on the connection that wrote (Redis 7.2 and later, Valkey): WAITAOF speaks of that connection's writes."""

    replicas: int
    """How many replicas have to have it on disk, too."""

    def run_all(self, scripts: Scripts, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip, and return their answers when what they wrote is where it has to be.

        Raises:
            LedgerUnavailable: it is not yet; it may be later.
        """
        *answers, (synced, replicas) = scripts.run_all(calls, ("WAITAOF", 1, self.replicas, _WAIT_MS))
        if not synced or replicas < self.replicas:
            raise LedgerUnavailable(
                f"written, but not safe yet after {_WAIT_MS / 1000:g} s: on disk {bool(synced)}, "
                f"on {replicas} of {self.replicas} replicas (POSTROOM_DURABILITY); sending it again is safe"
            )
        return answers
