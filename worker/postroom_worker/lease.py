"""Leases: while a letter is in hand its claim is renewed, so that only a dead worker's claim runs out.

What has an end is recorded meanwhile: an outcome must not wait for a letter behind it that takes its time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Thread

from postroom import clock
from postroom.errors import LedgerUnavailable
from postroom.ledger import Claim, Ledger

log = logging.getLogger("postroom")

_HOUSEKEEPING_S = 1.0


class Leases:
    """Renews the claims in hand, all in one round trip, from a thread of this process."""

    def __init__(
        self, ledger: Ledger, every_s: float, keep: Callable[[], None], housekeeping: Callable[[], None]
    ) -> None:
        """Keep leases.

        Args:
            ledger: where the claims are.
            every_s: seconds between renewals: well below the lease.
            keep: called with each renewal, for leases of other things.
            housekeeping: called once a second or more often, in the same thread.
        """
        self._ledger = ledger
        self._every_s = every_s
        self._keep = keep
        self._housekeeping = housekeeping
        self._changed = Condition()
        self._claims: dict[str, Claim] = {}
        self._looks: list[Callable[[], None]] = []
        self._thread: Thread | None = None
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def kept(self, claims: Sequence[Claim], flush: Callable[[], None]) -> Iterator[None]:
        """Renew the claims as long as this lasts, or until each ends.

        Args:
            claims: which.
            flush: called once a second or more often: it records those that have come to an end.
        """
        with self._changed:
            self._claims |= {claim.nonce: claim for claim in claims}
            if self._thread is None or not self._thread.is_alive():
                self._start()
        try:
            with self.meanwhile(flush):
                yield
        finally:
            for claim in claims:
                self.end(claim)

    @contextmanager
    def meanwhile(self, look: Callable[[], None]) -> Iterator[None]:
        """Call something once a second, or more often, as long as this lasts."""
        with self._changed:
            self._looks.append(look)
        try:
            yield
        finally:
            with self._changed:
                self._looks.remove(look)

    def _start(self) -> None:
        self._thread = Thread(target=self._run, name="leases", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # Nothing goes out without the ledger's word that the claim is still ours.
            log.warning("claims are not renewed for now: %s", error)

    def end(self, claim: Claim) -> None:
        """Renew this claim no longer: it is about to be given back."""
        with self._changed:
            self._claims.pop(claim.nonce, None)

    def in_hand(self) -> list[Claim]:
        """Return the claims in hand."""
        with self._changed:
            return list(self._claims.values())

    def _run(self) -> None:
        renewed_s = clock.steady_s()
        while True:
            with self._changed:
                self._changed.wait(min(self._every_s, _HOUSEKEEPING_S))
                looks = list(self._looks)
            try:
                if clock.steady_s() - renewed_s >= self._every_s:
                    at_s = clock.steady_s()
                    self._renew(self.in_hand())
                    renewed_s = at_s  # while Redis is away, it is asked again each second
                    self._keep()
                self._housekeeping()
                for look in looks:
                    look()
            except LedgerUnavailable as error:
                log.warning("leases cannot be renewed (%s); trying again", error)
            except Exception:
                log.exception("a fault while leases were renewed; going on")

    def _renew(self, claims: list[Claim]) -> None:
        kept = self._ledger.renew(claims) if claims else []
        for claim, is_kept in zip(claims, kept, strict=True):
            if not is_kept and claim in self.in_hand():
                about = {"letter": claim.letter_id}
                log.warning(
                    "letter %s: the claim is lost; another worker goes on with it", claim.letter_id, extra=about
                )

    def _forget(self) -> None:
        self._changed = Condition()
        self._claims = {}
        self._looks = []
        self._thread = None
