"""A lane: one session after another with a relay, and the parcels that go through. Several lanes share a source."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil

from postroom import clock
from postroom.address import domain_of
from postroom.errors import LedgerUnavailable
from postroom.ledger.transitions import Window
from postroom.mime.stored import Stored
from postroom_worker import chance, limits, program, settlement
from postroom_worker.limits import NO_WAIT, Wait
from postroom_worker.office import Office
from postroom_worker.outbox import Outbox, until_recorded
from postroom_worker.outcome import Answer, Hint, Outcome, Phase, Silence, outcome
from postroom_worker.parcel import Parcel
from postroom_worker.relay import Relay
from postroom_worker.settlement import Attempt
from postroom_worker.signing import signed
from postroom_worker.smtp.content import together
from postroom_worker.smtp.flight import LETTERS, transmit
from postroom_worker.smtp.pool import NoPlace
from postroom_worker.smtp.session import Session
from postroom_worker.smtp.submission import Answers, Submission
from postroom_worker.smtp.wire import SessionFailed
from postroom_worker.stopping import is_stopping

log = logging.getLogger("postroom")

FAULT_WAIT_MS = 60_000
AWAY_WAIT_MS = 5_000
"""Redis did not answer: it does again when this wait is recorded."""
_DECIDED = (Outcome.ACCEPTED, Outcome.DEFERRED, Outcome.REFUSED)


def _nothing() -> None: ...


class Lane:
    """Where parcels go through. What cannot, for the relay is down or has no place, stays in the source."""

    def __init__(self, office: Office, relay: Relay, source: deque[Parcel], outbox: Outbox, share: int) -> None:
        """Make a lane.

        Args:
            office: what it works with.
            relay: where its parcels go.
            source: where it takes them from, as other lanes do.
            outbox: takes what they came to.
            share: how many it takes at once, at most: so that there are some for each lane.
        """
        self._office = office
        self._relay = relay
        self._breaker = office.breakers[relay.name]
        self._source = source
        self._outbox = outbox
        # In flights alike: of 25 it takes 13, then 12, lest another is idle while this one flies with 16.
        self._at_once = ceil(share / ceil(share / LETTERS))
        self._admitted: deque[Parcel] = deque()
        self._under_way: dict[Submission, Parcel] = {}
        self._withheld: dict[Submission, str] = {}
        """Why the end of a letter was not sent; empty when its claim was lost."""
        self._is_over = False
        self._look = _nothing
        self._began_s = 0.0
        self.turned_away: list[Parcel] = []
        """Those that look for another relay: no lane with this one takes them any more."""
        self.worked_s = 0.0
        """Seconds of the processor that it has used so far, as of the last letter that it composed or had answered."""
        self.no_place: Wait | None = None
        """What it has to wait for, when there was no place for a session."""

    def run(self, look: Callable[[], None] = _nothing) -> None:
        """Send until the source is empty, or the relay turns us away. Never raises.

        Args:
            look: called after each letter.
        """
        self._look = look
        self._began_s = clock.worked_s()
        is_fresh = False
        try:
            while (parcel := self._take()) is not None:
                self._admitted.appendleft(parcel)
                is_fresh = self._send(is_fresh=is_fresh)
        except Exception:
            about = {"relay": self._relay.name}
            log.exception("a fault of ours while letters went to %s; those in hand wait", self._relay, extra=about)
            self._give_up()
        self._source.extendleft(reversed(self._admitted))

    def _give_up(self) -> None:
        """Nothing is known to be wrong with these; a letter in its window is left to its lease, which knows of it."""
        for parcel in (*self._under_way.values(), *self._admitted):
            if not parcel.is_in_window:
                self._wait(parcel, Wait(FAULT_WAIT_MS, "a fault of ours"))
        self._admitted.clear()

    def _take(self) -> Parcel | None:
        """Return the next parcel that the relay's limits admit; None when there is none, or none may go."""
        if self._office.orders.relay_wait(self._relay).ms:
            self._is_over = True  # what is left looks for another relay
        while not self._admitted and not self._is_over and not is_stopping():
            some = _popped(self._source, self._at_once)
            if not some:
                return None
            try:
                waits = until_recorded(partial(self._waits, some))
            except LedgerUnavailable as error:
                self._source.extendleft(reversed(some))
                self._is_over, self.no_place = True, Wait(FAULT_WAIT_MS, f"a fault of ours ({error})")
                return None
            for parcel, wait in zip(some, waits, strict=True):
                if wait.ms:
                    self._wait(parcel, wait)
                else:
                    self._admitted.append(parcel)
        return self._admitted.popleft() if self._admitted and not self._is_over and not is_stopping() else None

    def _waits(self, parcels: Sequence[Parcel]) -> list[Wait]:
        """How long each has to wait before the relay's limits admit it."""
        standing = self._breaker.look(may_probe=False)
        return self._office.places.admit(self._relay, standing, [(each.left, each.is_bulk) for each in parcels])

    def _wait(self, parcel: Parcel, wait: Wait) -> None:
        self._outbox.finish(parcel.claim, parcel.put_off(wait))

    def _send(self, *, is_fresh: bool) -> bool:
        """Send what is admitted, and more, through one session; True when the next has to be a new one."""
        if self._relay.program:
            self._run_program()
            return False
        try:
            with self._office.pool.session(self._relay, fresh=is_fresh) as session:
                return self._send_through(session)
        except SessionFailed as failed:
            parcel = self._admitted.popleft()
            self._conclude(parcel, dict.fromkeys(parcel.left, failed.answer))
        except NoPlace as no:
            self._is_over, self.no_place = True, no.wait
        except LedgerUnavailable as error:
            self._is_over, self.no_place = True, Wait(AWAY_WAIT_MS, f"Redis was away ({error})")
        return False

    def _send_through(self, session: Session) -> bool:
        """As `_send`, through this session."""
        served, ended_early = session.letters, False
        submissions = self._submissions(session)
        most = self._office.pool.letters_left(session)
        window_s = self._office.settings.lease_s / 2
        try:
            for submission, answers in transmit(session, submissions, self._enter, most, self._at_once, window_s):
                if served and answers and all(map(_is_session_end, answers.values())):
                    # A session's own end costs a letter nothing: it goes to the next one.
                    ended_early = True
                    self._admitted.append(self._landed(submission))
                else:
                    self._answered(submission, answers if served else _of_a_relay(answers))
                served += 1
        finally:
            if self._relay.domains:
                # Before another may have the session, and these places with it.
                self._office.places.leave(self._relay, self._office.pool.member(session), but_not=("",))
        return ended_early

    def _run_program(self) -> None:
        """Send what is admitted, and more, by runs of the program."""
        for submission in self._submissions():
            answers = program.submit(
                self._relay,
                submission,
                partial(self._enter_alone, submission),
                self._office.settings.program_timeout_s,
            )
            self._answered(submission, answers)

    def _submissions(self, session: Session | None = None) -> Iterator[Submission]:
        """Yield what goes through the session, composed; a letter of ours that cannot be composed waits."""
        while self._may_serve(session) and (parcel := self._take()) is not None:
            wait = self._office.orders.hold_back(parcel)
            wait = wait if wait.ms else self._no_entry(parcel, session)
            if wait.ms:
                self._wait(parcel, wait)
                continue
            try:
                parcel.content = parcel.content or self._composed(parcel)
                submission = Submission(self._office.redirect.redirected(parcel.envelope(self._relay)), parcel.content)
            except Exception as error:
                about = {"letter": parcel.claim.letter_id}
                log.exception("letter %s could not be composed; it waits", parcel.claim.letter_id, extra=about)
                self._wait(parcel, Wait(FAULT_WAIT_MS, f"it could not be composed: {type(error).__name__}"))
                continue
            self._under_way[submission] = parcel
            if session and self._relay.domains:
                session.letters_to.update({domain_of(each) for each in parcel.left})
            parcel.submitted_s = parcel.submitted_s or clock.steady_s()
            self.worked_s = clock.worked_s() - self._began_s
            yield submission

    def _may_serve(self, session: Session | None) -> bool:
        return session is None or self._office.pool.letters_left(session) > 0

    def _composed(self, parcel: Parcel) -> Sequence[bytes]:
        def read(stored: Stored) -> bytes:
            return self._office.ledger.contents.read(stored.sha256)

        # Those who get it in place of others are told so; that is not signed.
        told = self._office.redirect.fields(parcel.left)
        return together([*told, *signed(parcel.letter.octets(read), self._office.keys)])

    def _no_entry(self, parcel: Parcel, session: Session | None) -> Wait:
        """Take a place at each recipient domain that has limits of its own; or say what to wait for."""
        if session is None or not self._relay.domains:
            return NO_WAIT
        domains = sorted({domain_of(each) for each in parcel.left})
        member = self._office.pool.member(session)
        try:
            waits = until_recorded(lambda: self._office.places.enter(self._relay, member, domains, session.letters_to))
        except LedgerUnavailable as error:
            return Wait(FAULT_WAIT_MS, f"a fault of ours ({error})")
        return next(iter(waits.values()), NO_WAIT)

    def _enter(self, submissions: Sequence[Submission]) -> list[bool]:
        """The ends of these are about to be sent: tell the ledger, unless they are too late."""
        for each in submissions:
            late = self._under_way[each].too_late()
            if late:
                self._withheld[each] = late
        going = [each for each in submissions if each not in self._withheld]
        parcels = [self._under_way[each] for each in going]
        windows = [Window(each.claim, self._relay.name, each.recipients()) for each in parcels]
        for submission, parcel, is_ours in zip(going, parcels, self._outbox.enter(windows), strict=True):
            parcel.is_in_window = is_ours
            if not is_ours:
                self._withheld[submission] = ""
        return [each not in self._withheld for each in submissions]

    def _enter_alone(self, submission: Submission) -> bool:
        return self._enter([submission])[0]

    def _landed(self, submission: Submission) -> Parcel:
        parcel = self._under_way.pop(submission)
        parcel.is_in_window = False
        return parcel

    def _answered(self, submission: Submission, answers: Answers) -> None:
        parcel = self._landed(submission)
        self.worked_s = clock.worked_s() - self._began_s
        self._look()
        answers = self._office.redirect.told(limits.transaction(self._relay, parcel.left), answers)
        if answers:
            if not parcel.take(answers) or not all(outcome(each).outcome in _DECIDED for each in answers.values()):
                self._conclude(parcel, {})
            else:
                self._admitted.appendleft(parcel)
            return
        late = self._withheld.pop(submission, "")
        if parcel.answers:
            # Who was answered in an earlier transaction stays so, whether it is too late now or the claim is lost.
            self._conclude(parcel, {})
        elif late:
            self._outbox.finish(parcel.claim, settlement.expire(parcel.claim, self._office.rules, late))
        else:
            self._outbox.lost(parcel.claim)

    def _conclude(self, parcel: Parcel, answers: Answers) -> None:
        """The attempt is over, at this relay at least: settle it, or try the next relay."""
        parcel.take(answers)
        paused, is_braked = self._learn(parcel.answers)
        pause_ms = 0
        if paused:
            self._is_over = True
            pause_ms = self._breaker.trip(paused)
            is_uncertain = any(outcome(each).outcome is Outcome.UNCERTAIN for each in parcel.answers.values())
            if len(parcel.relays) > 1 and not is_uncertain and not is_braked:
                parcel.turn_away(self._relay, paused)
                self.turned_away.append(parcel)
                return
        attempt = Attempt(
            self._relay.name, self._office.worker, parcel.took_ms(), parcel.answers, tuple(parcel.turned_away)
        )
        finish = settlement.settle(
            parcel.claim,
            attempt,
            self._office.rules,
            chance.part(),
            pause_ms,
            is_braked=is_braked,
        )
        self._outbox.finish(parcel.claim, finish)
        self._office.telemetry.attempted(parcel, attempt, finish)

    def _learn(self, answers: Answers) -> tuple[Answer | None, bool]:
        """Let the breaker learn from answers; returns what pauses the relay, and whether that is about us."""
        rows = {path: outcome(answer) for path, answer in answers.items()}
        paused = next((answers[path] for path, row in rows.items() if row.outcome is Outcome.PAUSE_RELAY), None)
        accepted = {domain_of(path) for path, row in rows.items() if row.outcome is Outcome.ACCEPTED}
        if not paused:
            self._breaker.serves(accepted)
        if accepted:
            self._breaker.accepts()
        less = {domain_of(path): answers[path] for path, row in rows.items() if row.hint is Hint.LESS}
        for domain, answer in less.items():
            self._breaker.slow(answer, domain)
        about_us = next((answers[path] for path, row in rows.items() if row.hint is Hint.US), None)
        if about_us and not accepted and self._breaker.brakes(about_us):
            return about_us, True
        return paused, False


def _popped(source: deque[Parcel], most: int) -> list[Parcel]:
    some: list[Parcel] = []
    while len(some) < most:
        try:
            some.append(source.popleft())
        except IndexError:
            break
    return some


def _of_a_relay(answers: Answers) -> Answers:
    """Return the answers of a session's first letter: one that ends before it was never there for us."""
    return {
        path: Answer(Phase.CONNECT, each.met, each.detail) if each.phase is Phase.IDLE else each
        for path, each in answers.items()
    }


def _is_session_end(answer: Answer) -> bool:
    """True when a session ended before it took the letter's first command: that says nothing of the relay."""
    is_lost = answer.met is Silence.CONNECTION_LOST or getattr(answer.met, "code", 0) == 421
    return answer.phase is Phase.IDLE or (answer.phase is Phase.MAIL and is_lost)
