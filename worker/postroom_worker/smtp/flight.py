"""Letters in flight: many transactions in one session, as closely behind each other as its relay allows.

It offers PIPELINING and CHUNKING (RFC 2920, RFC 3030): several letters go in one write, and their replies come behind
each other. It offers PIPELINING alone: the commands of a letter go in one write, with the content of the letter before.
It offers neither: every command waits for its reply.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from postroom import clock
from postroom.reply import Reply
from postroom_worker.outcome import Answer, Phase, Silence
from postroom_worker.smtp import content as contents
from postroom_worker.smtp.session import Session
from postroom_worker.smtp.submission import Answers, Submission
from postroom_worker.smtp.transaction import Transaction
from postroom_worker.smtp.wire import SessionFailed

log = logging.getLogger("postroom")

LETTERS = 16
"""How many letters are in flight at most: so many can be uncertain at once."""
_OCTETS = 256 * 1024
"""How much content is in flight; the last letter may go beyond it."""
_RSET = b"RSET\r\n"
_ENDED = Answer(Phase.IDLE, Silence.CONNECTION_LOST, "the session ended before the letter was begun")

EnterWindow = Callable[[Sequence[Submission]], Sequence[bool]]


def transmit(
    session: Session,
    submissions: Iterable[Submission],
    enter_window: EnterWindow,
    letters_max: int,
    at_once: int = LETTERS,
    window_s: float = float("inf"),
) -> Iterator[tuple[Submission, Answers]]:
    """Submit letters, and yield each with its answers as soon as it is decided, in order.

    When it ends before the submissions do, because `letters_max` were taken or the session is not usable any more, the
    rest was not taken: it goes on in another session. A letter that was taken, and of which that session can have got
    nothing that counts, is yielded with answers of the phase `idle`: it is to go on in another session too.

    Args:
        session: where; closed unless it can serve a next letter.
        submissions: taken as they can be sent, up to `at_once` ahead; composing may happen in it.
        enter_window: called with those whose end of content is sent next, before it is; returns for each whether it may
            be. One that may not is yielded with no answers: nobody was accepted.
        letters_max: how many to take.
        at_once: how many are in flight at most; never more than 16.
        window_s: seconds for which the answer of `enter_window` holds; then it is asked once more.

    Raises:
        Exception: what `enter_window` or `submissions` raised, after the session is closed; of what was taken and not
            yielded by then, nothing is known. Nothing else is raised: what goes wrong, with the relay or with us, is an
            answer.
    """
    flights = _Flights(session, enter_window, min(at_once, LETTERS), window_s)
    try:
        for flight in flights.of(islice(submissions, letters_max)):
            yield from flights.serve(flight)
            if not session.is_usable:
                return
    except BaseException:
        session.close()
        raise
    if session.is_usable and session.has_leftover:
        session.close()


class _Flights:
    """What `transmit` works with."""

    def __init__(self, session: Session, enter_window: EnterWindow, at_once: int, window_s: float) -> None:
        self._session = session
        self._enter_window = enter_window
        self._at_once = at_once
        self._window_s = window_s
        self._is_callers_fault = False

    def of(self, submissions: Iterator[Submission]) -> Iterator[list[Transaction]]:
        """Yield the letters that are taken together; only the last of them may be large."""
        while True:
            flight, octets = [], 0
            for submission in islice(submissions, self._letters_at_once()):
                transaction = Transaction(self._session, submission, window_s=self._window_s)
                self._word(transaction)
                flight.append(transaction)
                octets += transaction.size
                if octets >= _OCTETS or not transaction.is_small:
                    break
            if not flight:
                return
            yield flight

    def _letters_at_once(self) -> int:
        features = self._session.features
        if "pipelining" not in features or ("chunking" in features and not self._session.knows_bdat):
            return 1
        return self._at_once

    def serve(self, flight: Sequence[Transaction]) -> Iterator[tuple[Submission, Answers]]:
        """Submit these letters; a fault of ours is an answer to those in hand."""
        served = 0
        try:
            for transaction in self._submit(flight):
                yield transaction.result
                served += 1
        except Exception as error:
            self._session.close()
            if self._is_callers_fault:
                raise
            log.exception("transactions with %s ended by a fault of ours", self._session.relay)
            for transaction in flight[served:]:
                _fault(transaction, error)
                yield transaction.result

    def _word(self, transaction: Transaction) -> None:
        try:
            transaction.word()
        except ValueError as error:
            log.exception("a letter cannot be put into commands")
            _fault(transaction, error)

    def _submit(self, flight: Sequence[Transaction]) -> Iterator[Transaction]:
        small = flight if flight[-1].is_small else flight[:-1]
        if self._session.knows_bdat:
            yield from self._fly(small)
        else:
            yield from self._converse(small)
        yield from self._converse(flight[len(small) :])

    def _ask(self, transactions: Sequence[Transaction]) -> None:
        """Ask the caller which of them may be ended, as far as they are not decided."""
        transactions = _open(transactions)
        if not transactions:
            return
        try:
            answers = self._enter_window([each.submission for each in transactions])
        except BaseException:
            self._is_callers_fault = True
            raise
        for transaction, may_end in zip(transactions, answers, strict=True):
            transaction.may_end, transaction.asked_s = may_end, clock.steady_s()

    def _converse(self, transactions: Sequence[Transaction]) -> Iterator[Transaction]:
        """Submit one letter after the other; the commands of one may go with the content of the one before."""
        for place, transaction in enumerate(transactions):
            if transaction.is_over:
                pass
            elif not (self._session.is_usable if transaction.is_ahead else self._is_in_step()):
                transaction.abandon(_ENDED)
            else:
                left = transactions[place:]
                try:
                    transaction.run(partial(self._ask, left), partial(self._next, left))
                except SessionFailed as failed:
                    self._session.close()
                    transaction.abandon(failed.answer)
            yield transaction

    def _is_in_step(self) -> bool:
        """False when the session has ended, or the relay said something that nobody asked for: nothing is said then."""
        if self._session.is_usable and self._session.has_leftover:
            self._session.close()
        return self._session.is_usable

    def _next(self, transactions: Sequence[Transaction]) -> Transaction | None:
        """The letter behind the first of these, if its commands may go ahead."""
        if "pipelining" not in self._session.features:
            return None
        return next((each for each in transactions[1:] if not each.is_over), None)

    def _fly(self, transactions: Sequence[Transaction]) -> Iterator[Transaction]:
        """Submit letters in one write, and take each one's replies behind those of the one before."""
        if not self._is_in_step():
            yield from self._converse(transactions)
            return
        self._ask(transactions)
        going = _open(transactions)
        landing = _Landing(self._session, going)
        waiting: list[Transaction] = []
        for transaction in transactions:
            if transaction in going:
                landing.hear(transaction)
            if waiting or transaction.is_to_repeat:
                waiting.append(transaction)
            else:
                yield transaction
        for transaction in waiting:
            if transaction.is_to_repeat:
                transaction.repeat()
                yield from self._converse([transaction])
            else:
                yield transaction


class _Landing:
    """Letters that are written at once, with BDAT, and how their replies come in."""

    def __init__(self, session: Session, transactions: Sequence[Transaction]) -> None:
        self._session = session
        self._said: Reply | None = None
        self._failed: SessionFailed | None = None
        self._unwritten: SessionFailed | None = None
        octets = bytearray()
        for place, transaction in enumerate(transactions):
            content = contents.ended(transaction.submission.content)
            octets += b"%bBDAT %d LAST\r\n%b" % (b"".join(transaction.wording.commands), len(content), content)
            transaction.begin(ahead=place > 0)
            transaction.ends_at = session.sent + len(octets)
            # It ends what a refused letter leaves open; and its reply shows that we are in step.
            octets += _RSET
        try:
            session.write(octets, Phase.BODY)
        except SessionFailed as failed:
            # What was taken may be answered all the same.
            self._unwritten = failed

    def hear(self, transaction: Transaction) -> None:
        """Take the replies to the next letter, or what their absence means."""
        if self._failed is None:
            try:
                transaction.hear(lambda phase: self._read(phase, transaction))
            except SessionFailed as failed:
                self._failed = failed
                self._session.close()
            else:
                return
        answer = self._failed.answer
        is_bye = self._said is not None and self._said.code == 421 and answer.met is Silence.CONNECTION_LOST
        if is_bye:
            # It said that it closes, and closed: it has done nothing of what came behind (RFC 5321 §3.8).
            transaction.decide(Answer(Phase.IDLE, answer.met, f"the relay said {self._said}"))
        else:
            transaction.abandon(answer)

    def _read(self, phase: Phase, transaction: Transaction) -> Reply:
        if self._unwritten and not self._is_written(phase, transaction) and not self._session.has_leftover:
            raise self._unwritten
        self._said = self._session.read(phase)
        return self._said

    def _is_written(self, phase: Phase, transaction: Transaction) -> bool:
        """True when the relay may still answer in this phase of the letter."""
        return transaction.reaches(len(_RSET) if phase is Phase.IDLE else 0)


def _open(transactions: Sequence[Transaction]) -> list[Transaction]:
    return [each for each in transactions if not each.is_over]


def _fault(transaction: Transaction, error: Exception) -> None:
    phase = Phase.CONTENT if transaction.is_ended else Phase.BODY
    transaction.decide(Answer(phase, Silence.MALFORMED, f"a fault of ours: {type(error).__name__}"))
