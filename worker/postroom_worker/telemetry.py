"""What is told of an attempt beyond the letter's own history: a count, a line of the log, and a trace."""

from __future__ import annotations

import logging

from postroom.ledger import Finish, Ledger
from postroom.reply import printable, without_addresses
from postroom_worker import spans
from postroom_worker.counting import Counts, worst
from postroom_worker.parcel import Parcel
from postroom_worker.settlement import Attempt

log = logging.getLogger("postroom")


class Telemetry:
    """Tells of the attempts of one process. Safe to share between threads."""

    def __init__(self, ledger: Ledger) -> None:
        """Tell of nothing yet."""
        self.counts = Counts(ledger)

    def attempted(self, parcel: Parcel, attempt: Attempt, finish: Finish) -> None:
        """Tell of an attempt that is over; it costs microseconds, and writes nothing to the ledger. Never raises."""
        try:
            self._attempted(parcel, attempt, finish)
        except Exception:
            # Whoever is told of spans may be at fault: no letter in flight with this one is to be uncertain for that.
            log.exception("an attempt could not be told of", extra={"letter": parcel.claim.letter_id})

    def _attempted(self, parcel: Parcel, attempt: Attempt, finish: Finish) -> None:
        claim = parcel.claim
        if not attempt.answers:
            return
        self.counts.attempt(claim, attempt, finish)
        is_logged = log.isEnabledFor(logging.INFO)
        if not (is_logged or claim.trace):
            return
        met, answer = worst(attempt)
        reply = without_addresses(printable(str(answer)))
        if is_logged:
            told = {
                "letter": claim.letter_id,
                "attempt": finish.attempts,
                "relay": attempt.relay,
                "outcome": str(met),
                "state": str(finish.state),
                "reply": reply,
                "recipients": len(attempt.answers),
                "took_ms": attempt.took_ms,
            }
            if claim.trace:
                told["trace"] = claim.trace
            log.info("letter %s: attempt %d through %s: %s: %s", *list(told.values())[:4], reply, extra=told)
        if claim.trace:
            spans.tell(parcel, attempt, finish, met, reply)
