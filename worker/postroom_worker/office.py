"""What a worker process works with: made once, at the first letter; a child of fork() makes its own connections."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from postroom.ledger import Ledger, open_ledger
from postroom.settings import Settings, process_settings
from postroom_worker.backoff import Backoff
from postroom_worker.breaker import Breaker
from postroom_worker.lease import Leases
from postroom_worker.limits import Places
from postroom_worker.orders import Orders
from postroom_worker.pace import LETTERS_A_LANE, Pace
from postroom_worker.relay import Relay
from postroom_worker.relay_file import read_relays
from postroom_worker.settlement import Rules
from postroom_worker.signing_key import SigningKey, read_keys
from postroom_worker.smtp.pool import Pool
from postroom_worker.smtp.session import Manner
from postroom_worker.staging import Redirect
from postroom_worker.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Office:
    """The ledger, the relays and the sessions of one process. Safe to share between threads."""

    settings: Settings
    ledger: Ledger
    relays: tuple[Relay, ...]
    """In order of failover."""
    breakers: Mapping[str, Breaker]
    """By the relay's name."""
    keys: tuple[SigningKey, ...]
    redirect: Redirect
    places: Places
    pool: Pool
    leases: Leases
    orders: Orders
    rules: Rules
    telemetry: Telemetry
    pace: Pace
    worker: str

    @classmethod
    def open(cls, settings: Settings, ledger: Ledger, worker: str) -> Office:
        """Set up, without connecting to anything.

        Raises:
            InvalidSettings: a relay's description, a key that letters are signed with, or where all letters are
                redirected to cannot be read.
        """
        relays = read_relays(settings)
        places = Places(ledger, int(1000 * settings.retry_max_s))
        breakers = {relay.name: Breaker(ledger, relay, settings) for relay in relays}
        telemetry = Telemetry(ledger)
        orders = Orders(ledger, int(1000 * settings.retry_max_s))
        pool = Pool(
            Manner.of(settings),
            places,
            idle_s=settings.session_idle_s,
            letters=settings.session_letters,
            dialogue=orders.dialogue,
        )

        def tidy() -> None:
            telemetry.counts.flush()
            pool.close_idle()
            _end_wanted(pool, breakers)

        return cls(
            settings=settings,
            ledger=ledger,
            relays=relays,
            breakers=breakers,
            keys=read_keys(settings.dkim),
            redirect=Redirect.of(settings),
            places=places,
            pool=pool,
            leases=Leases(ledger, max(0.2, settings.lease_s / 4), places.keep, tidy),
            orders=orders,
            rules=Rules(Backoff.of_letters(settings), ledger.times, settings.pauses_max),
            telemetry=telemetry,
            pace=Pace(LETTERS_A_LANE * settings.sessions),
            worker=worker,
        )

    def end_wanted(self) -> None:
        """End the idle sessions with relays at whose limit another process waits.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        _end_wanted(self.pool, self.breakers)


def _end_wanted(pool: Pool, breakers: Mapping[str, Breaker]) -> None:
    for relay in pool.relays():
        if relay.limits.connections and breakers[relay.name].look(may_probe=False).is_wanted:
            pool.close(relay)


@lru_cache(maxsize=1)
def office() -> Office:
    """Return the office of this process."""
    settings = process_settings()
    return Office.open(settings, open_ledger(settings), f"{socket.gethostname()}:{os.getpid()}")


os.register_at_fork(after_in_child=office.cache_clear)
