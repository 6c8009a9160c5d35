"""Turns: a chunk goes on for a moment, then the rest of it stands in line again, behind the letters sent alone.

What stands in line was not claimed: it costs the ledger nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from postroom import clock
from postroom.bell import AWAY, Bells
from postroom.ledger.unrung import put_back
from postroom_worker.delivery import deliver
from postroom_worker.office import Office
from postroom_worker.outbox import Delivered
from postroom_worker.pace import TURN_S
from postroom_worker.stopping import is_stopping

log = logging.getLogger("postroom")


def take_turn(office: Office, letter_ids: Sequence[str]) -> tuple[list[Delivered], Sequence[str]]:
    """Deliver letters until the turn is over; returns what became of them, and those that are left.

    Raises:
        LedgerUnavailable: Redis is away, and of the next letters none was claimed: the schedule rings again.
    """
    began_s = clock.steady_s()
    done: list[Delivered] = []
    while len(done) < len(letter_ids):
        some = letter_ids[len(done) : len(done) + office.pace.share()]
        at_s = clock.steady_s()
        done += deliver(office, some)
        office.pace.learn(len(some), clock.steady_s() - at_s)
        if clock.steady_s() - began_s >= TURN_S or is_stopping():
            break
    return done, letter_ids[len(done) :]


def stand_in_line(office: Office, letter_ids: Sequence[str], queue: str) -> None:
    """Ring for letters that were rung for and not claimed: at the end of their queue."""
    try:
        Bells.of(office.settings).ring_chunk(letter_ids, queue)
    except AWAY as error:
        log.warning("the broker is away (%s): the schedule rings for %d letters of a chunk", error, len(letter_ids))
        put_back(office.ledger, letter_ids)
