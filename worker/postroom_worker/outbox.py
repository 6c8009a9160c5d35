"""The outbox: what attempts came to, and the windows about to open, recorded together and until the ledger answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TypeVar

import msgspec

from postroom import clock
from postroom.errors import LedgerUnavailable, UnknownLetter
from postroom.ledger import Claim, Finish, Recipient, views
from postroom.ledger.availability import is_fault
from postroom.ledger.transitions import Window
from postroom.reply import without_addresses
from postroom.states import LetterState, RecipientState, letter_state
from postroom_worker.office import Office

log = logging.getLogger("postroom")
T = TypeVar("T")

_WAIT_MAX_S = 1.0
"""How long Redis may be back, at most, before it is told: well below what `Patience` lasts."""
_TOGETHER_S = 0.1
"""How long an outcome waits for others to be recorded with, if letters follow each other; `Leases` sees to the rest."""
_LOOKS = 10
_FAULTS_MAX = 22
"""How often one thing is tried that Redis answers with an error of its own: for some twenty seconds."""


class Delivered(msgspec.Struct, frozen=True):
    """What became of one letter of a chunk."""

    letter_id: str
    state: str
    """The letter's state now; for a letter that was not ours to deliver, the state that forbade it."""
    why: str = ""
    """The reply that decided, or the reason."""
    next_in_ms: int = 0
    is_first: bool = True
    """False when it had been claimed before: a monitor may show it as one that waits."""
    recipients: Sequence[Recipient] = ()
    """As they were when it was claimed."""
    is_ours: bool = True
    """False when the letter was not ours to deliver."""


class Outbox:
    """What is to be recorded of one chunk. Safe to share between the threads that deliver it."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._lock = Lock()
        self._flushing = Lock()
        self._waiting: list[tuple[Claim, Finish]] = []
        self._recorded_s = clock.steady_s()
        self.delivered: dict[str, Delivered] = {}
        """By letter id."""

    def finish(self, claim: Claim, finish: Finish) -> None:
        """Record what an attempt came to, soon."""
        with self._lock:
            self._waiting.append((claim, finish))
            is_time = clock.steady_s() - self._recorded_s > _TOGETHER_S
        if is_time:
            self.flush()

    def lost(self, claim: Claim) -> None:
        """Take note that a claim was lost: another goes on with the letter."""
        self._office.leases.end(claim)
        self.delivered[claim.letter_id] = Delivered(claim.letter_id, "stale", "the claim was lost", is_ours=False)

    def enter(self, windows: Sequence[Window]) -> list[bool]:
        """Open windows; False for each whose claim was lost: nothing of that letter may be sent any more."""
        return self._record(windows)

    def flush(self) -> None:
        """Record everything now; what another thread is recording is recorded, too, when this returns."""
        with self._flushing:
            self._record(())

    def _record(self, windows: Sequence[Window]) -> list[bool]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._recorded_s = clock.steady_s()
        if not waiting and not windows:
            return []
        ledger = self._office.ledger
        kept: Sequence[bool | None]
        for claim, _ in waiting:
            # Before, lest a renewal that comes after the finish takes the claim for lost.
            self._office.leases.end(claim)
        try:
            kept, entered = until_recorded(lambda: ledger.record(waiting, windows))
        except LedgerUnavailable:
            kept, entered = self._record_alone(waiting, windows)
        for (claim, finish), is_kept in zip(waiting, kept, strict=True):
            if is_kept is None:
                self.delivered[claim.letter_id] = Delivered(claim.letter_id, LetterState.SENDING, is_ours=False)
                continue
            if not is_kept:
                _unless_refused(claim, partial(self._testify, claim, finish))
            elif finish.state is LetterState.SENT and claim.contents:
                self._drop_contents(claim)
            is_first = claim.fence == 1
            self.delivered[claim.letter_id] = Delivered(
                claim.letter_id, finish.state, why(finish), finish.wait_ms, is_first, claim.recipients
            )
        return entered

    def _record_alone(
        self, waiting: Sequence[tuple[Claim, Finish]], windows: Sequence[Window]
    ) -> tuple[list[bool | None], list[bool]]:
        """Record each by itself, lest what Redis refuses of one letter keep the others; None for what it refuses."""
        record = self._office.ledger.record
        kept = [_unless_refused(each[0], partial(record, [each], ())) for each in waiting]
        entered = [_unless_refused(each.claim, partial(record, (), [each])) for each in windows]
        return [each and each[0][0] for each in kept], [bool(each and each[1][0]) for each in entered]

    def _testify(self, claim: Claim, finish: Finish) -> None:
        """The claim ran out; but if that was in the window, what the relay said is what everybody wants to know."""
        ledger, about = self._office.ledger, {"letter": claim.letter_id}
        for _ in range(_LOOKS):
            try:
                seen, recipients = views.recipients(ledger, claim.letter_id)
            except UnknownLetter:
                return
            known = testimony(recipients, finish.recipients)
            if known == list(recipients):
                break
            state = settled_by(seen, known)
            event = finish.event | {"event": "testified", "state": state}
            answer = ledger.testify(
                claim, seen=seen, seen_recipients=recipients, state=state, recipients=known, event=event
            )
            if answer in ("settled", "again"):
                log.warning(
                    "letter %s: its claim had run out, but what the relay said is recorded",
                    claim.letter_id,
                    extra=about,
                )
                if state is LetterState.SENT and claim.contents:
                    self._drop_contents(claim)
                return
            if answer == "nothing":
                break
        log.warning("letter %s: finished too late, the claim was lost", claim.letter_id, extra=about)

    def _drop_contents(self, claim: Claim) -> None:
        try:
            self._office.ledger.contents.drop(claim.letter_id, claim.contents)
        except LedgerUnavailable as error:
            about = {"letter": claim.letter_id}
            log.warning("letter %s: its contents are dropped later (%s)", claim.letter_id, error, extra=about)


def testimony(seen: Sequence[Recipient], said: Sequence[Recipient]) -> list[Recipient]:
    """Return the recipients as they are when a relay's late answer is heard: nobody who was accepted is open again.

    Args:
        seen: as the ledger has them.
        said: as the late attempt left them.
    """
    late = {each.address: each for each in said}
    return [
        late[each.address]
        if late[each.address].state is RecipientState.ACCEPTED is not each.state
        or (late[each.address].state is RecipientState.REFUSED and each.state.is_open)
        else each
        for each in seen
    ]


def settled_by(seen: LetterState, recipients: Sequence[Recipient]) -> LetterState:
    """Return the state of a letter after a late answer: where somebody is still open, it stays where it was."""
    state = letter_state([each.state for each in recipients])
    if state is not LetterState.DEFERRED or seen is LetterState.SENDING:
        return state
    return seen


def until_recorded(write: Callable[[], T], faults_max: int = _FAULTS_MAX) -> T:
    """Write to the ledger, again and again until it answers: what was delivered must not be forgotten.

    Args:
        write: what to do.
        faults_max: how often it is done when Redis is well and answers with an error: no waiting changes that.

    Raises:
        LedgerUnavailable: Redis did so each time.
    """
    wait_s, faults = 0.1, 0
    while True:
        try:
            return write()
        except LedgerUnavailable as error:
            faults += is_fault(error.__cause__)
            if faults >= faults_max:
                raise
            log.warning("an outcome waits to be recorded: %s; trying again in %.1f s", error, wait_s)
            clock.pause(wait_s)
            wait_s = min(2 * wait_s, _WAIT_MAX_S)


def _unless_refused(claim: Claim, write: Callable[[], T]) -> T | None:
    try:
        return until_recorded(write, faults_max=1)
    except LedgerUnavailable as error:
        log.error(
            "letter %s: Redis is well, and refuses to record what became of it: %s. It is left to its lease; when it "
            "was in its window, it counts as uncertain then",
            claim.letter_id,
            error,
            extra={"letter": claim.letter_id},
        )
        return None


def why(finish: Finish) -> str:
    """Return the reply that decided, or the reason: what Flower shows. It names no address."""
    if finish.reason:
        return without_addresses(finish.reason)
    worst = [each.reply for each in finish.recipients if each.state != "accepted" and each.reply]
    return without_addresses(worst[0] if worst else str(finish.event.get("why", "")))
