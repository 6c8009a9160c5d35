"""A transaction: MAIL, RCPT for each, DATA or BDAT, the content (RFC 5321 §3.3, RFC 3030), for one letter.

What comes of it is an answer for every recipient: the reply, or its absence, that decides about it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from postroom import clock
from postroom.reply import Reply
from postroom_worker.outcome import Answer, Outcome, Phase, Scope, Silence, outcome
from postroom_worker.smtp import content as contents
from postroom_worker.smtp.session import Session
from postroom_worker.smtp.submission import Answers, Submission, Wording, worded
from postroom_worker.smtp.wire import SessionFailed

BATCH_OCTETS = 4096
"""Commands written before their replies are read."""
_NOT_KNOWN = (500, 501, 502, 503, 504)
_UNWORDED = Wording((), (), frozenset(), {}, has_chunks=False)


@dataclass(slots=True, eq=False)
class Transaction:
    """One letter in one session."""

    session: Session
    submission: Submission
    wording: Wording = _UNWORDED
    size: int = field(init=False)
    """Octets of the content."""
    answers: Answers = field(default_factory=dict)
    """Of the recipients that are decided."""
    accepted: list[str] = field(default_factory=list)
    """Those whose RCPT was taken: the reply to the end of the content is theirs."""
    may_end: bool | None = None
    """Whether the end of the content may be sent; None until the caller was asked."""
    asked_s: float = 0.0
    """When the caller was, by the steady clock."""
    window_s: float = float("inf")
    """How long that holds: who was asleep for longer asks again."""
    is_begun: bool = False
    """True when some of it may have been written."""
    ends_at: int | None = None
    """The octet of the session with which its content ends."""
    is_ahead: bool = False
    """Its commands went with the end of the letter before: a reply that nobody asked for could pass for one of its own,
    until the session is found in step behind them."""
    is_heard: bool = False
    """True when the reply to the end of the content has come."""
    is_to_repeat: bool = False
    """The relay did not take a parameter that it offered, and the letter can do without."""

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.submission.content))

    def word(self) -> None:
        """Choose the words for it.

        Raises:
            ValueError: a path cannot stand in a command.
        """
        self.wording = worded(self.submission, self.session.features)
        self.answers = dict(self.wording.lacking)

    @property
    def is_small(self) -> bool:
        """True when its commands, and its content, go in one write each."""
        return self.size <= contents.TAIL_OCTETS and sum(map(len, self.group)) <= BATCH_OCTETS

    @property
    def is_decided(self) -> bool:
        """True when every recipient has an answer."""
        return len(self.answers) == len(self.submission.envelope.recipients)

    @property
    def is_over(self) -> bool:
        """True when nothing is left to do for it: it is decided, or must not be sent."""
        return self.is_decided or self.may_end is False

    @property
    def is_ended(self) -> bool:
        """True when the end of the content has been written: from here on the relay may have taken it."""
        return self.reaches(0)

    def reaches(self, octets: int) -> bool:
        """Return True when so many octets behind the end of the content have been written."""
        return self.ends_at is not None and self.session.sent >= self.ends_at + octets

    @property
    def is_taken(self) -> bool:
        """True when the relay has taken it, for whoever it accepted."""
        return bool(self.accepted) and _is_accepted(self.answers[self.accepted[0]])

    @property
    def result(self) -> tuple[Submission, Answers]:
        """What the caller is told: no answers for a letter that was withheld."""
        return self.submission, {} if self.may_end is False else self.answers

    def decide(self, answer: Answer) -> None:
        """Give this answer to everybody who has none yet."""
        for path in self.submission.envelope.recipients:
            self.answers.setdefault(path, answer)

    def abandon(self, answer: Answer) -> None:
        """Answer for a session that cannot go on: what the relay cannot have taken is never uncertain."""
        if self.is_heard:
            return
        if self.is_ended:
            # Whoever was accepted may have the letter, whatever was said of the others.
            answer = Answer(Phase.CONTENT, answer.met, answer.detail)
            self.answers |= dict.fromkeys(self.accepted, answer)
            self.decide(answer)
            self.is_to_repeat = self.is_to_repeat and not self.accepted
        elif self.is_ahead or not self.is_begun:
            # Nothing that seemed to be said of it is sure to be: it is tried again at no cost, and first in a session.
            self.answers = dict(self.wording.lacking)
            self.decide(Answer(Phase.IDLE, answer.met, answer.detail))
        else:
            self.decide(answer)

    # --- what goes over the wire ---

    @property
    def group(self) -> list[bytes]:
        """Its commands up to the content; with BDAT the first chunk, of one octet.

        A relay that offers BDAT and does not know it would take the content for commands; one octet is none. (An empty
        chunk would ask the same, but Postfix refuses it.)
        """
        if self.wording.has_chunks:
            return [*self.wording.commands, b"BDAT 1\r\n" + contents.first(self.submission.content)]
        return [*self.wording.commands, b"DATA\r\n"]

    def begin(self, *, ahead: bool = False) -> None:
        """Note that it is about to be written."""
        self.session.letters += not self.is_begun
        self.is_begun, self.is_ahead = True, ahead

    def run(self, ask: Callable[[], None], follow: Callable[[], Transaction | None]) -> None:
        """Submit it, and wait for each answer that it needs.

        Args:
            ask: finds out whether its end may be sent; called right before that.
            follow: returns the letter whose commands may go in one write with its end.

        Raises:
            SessionFailed: the session cannot go on; who is not decided is to be abandoned.
        """
        replies = self._exchange()
        if self._is_to_say_again(replies):
            self._leave(replies)
            if not self.session.is_usable:
                return
            self._start_again()
            replies = self._exchange()
        if not self._is_admitted(replies):
            self._leave(replies)
            return
        self.is_ahead = False
        if self.wording.has_chunks:
            self.session.knows_bdat = True
            self._write_chunks(ask)
        else:
            self._write_content(ask, follow)
        if self.may_end is not False and not self.is_decided:
            self.hear_end(self.session.read(Phase.CONTENT))

    def _is_to_say_again(self, replies: Sequence[Reply]) -> bool:
        """True when it can be said in other words (RFC 5321 §4.1.1.11): without the options, or with DATA."""
        if replies[0].code == 555 and self.wording.options:
            self.forgo_options()
            return True
        if self.wording.has_chunks and self._is_complete(replies) and self.accepted and replies[-1].code // 100 == 5:
            # Of the content it has seen nothing: what it does not take is BDAT.
            self.session.features.pop("chunking", None)
            self.session.knows_bdat = False
            self.decide(Answer(Phase.DATA, Silence.MALFORMED, f"BDAT, which it offers, was answered {replies[-1]}"))
            return True
        return False

    def forgo_options(self) -> None:
        """Use no parameter in this session that the relay offered and did not take."""
        for option in self.wording.options:
            self.session.features.pop(option, None)

    def _start_again(self) -> None:
        self.word()
        self.accepted.clear()
        self.ends_at, self.is_heard, self.is_to_repeat = None, False, False

    def _exchange(self) -> list[Reply]:
        """Write the commands, in batches if they may be pipelined, and read a reply for each.

        Stops early at a refused MAIL, and before a DATA that nobody would receive.
        """
        replies: list[Reply] = []
        group = self.group
        for batch in _batches(group, pipelined="pipelining" in self.session.features):
            phase = self._phase(len(replies))
            if phase is Phase.DATA and self.is_decided:
                break
            if not self.is_ahead:
                if not replies:
                    self.begin()
                self.session.write(b"".join(batch), phase)
            for _ in batch:
                place = len(replies)
                replies.append(self.session.read(self._phase(place)))
                answer = self.note(place, replies[place])
                if answer:
                    # It concerns the whole letter, or the relay: nothing else is to be said in this session.
                    raise SessionFailed(answer.phase, answer.met)
            if not replies[0].is_positive:
                break
        return replies

    def _phase(self, place: int) -> Phase:
        if place == 0:
            return Phase.MAIL
        return Phase.RCPT if place <= len(self.wording.paths) else Phase.DATA

    def note(self, place: int, reply: Reply) -> Answer | None:
        """Take the reply to a command; returns the answer if it concerns more than whom the command named."""
        phase = self._phase(place)
        if phase is Phase.DATA:
            return None
        answer = Answer(phase, reply)
        row = outcome(answer)
        if row.outcome is Outcome.ACCEPTED:
            if phase is Phase.RCPT:
                self.accepted.append(self.wording.paths[place - 1])
        elif phase is Phase.MAIL:
            self.decide(answer)
        elif row.scope is Scope.RECIPIENT:
            self.answers.setdefault(self.wording.paths[place - 1], answer)
        elif not self.is_decided:
            return answer
        return None

    def hear(self, read: Callable[[Phase], Reply]) -> None:
        """Take the replies to all of it, when all of it went at once, with BDAT and the RSET behind it.

        After a reply that nobody asked for, that of BDAT is read in place of RSET's: what was read before it is
        believed only if the relay took the letter.

        Raises:
            SessionFailed: the session cannot go on, or is out of step.
        """
        for place in range(1 + len(self.wording.paths)):
            reply = read(self._phase(place))
            answer = self.note(place, reply)
            if answer:
                self.decide(answer)
            if place == 0:
                self.is_to_repeat = reply.code == 555 and bool(self.wording.options)
        reply = read(Phase.CONTENT)
        if reply.code in _NOT_KNOWN and self.accepted and not self.is_decided:
            # It knew the command before: we are out of step.
            raise SessionFailed(Phase.IDLE, Silence.MALFORMED, f"BDAT was answered {reply.code}")
        try:
            behind = read(Phase.IDLE)
        except SessionFailed:
            self.hear_end(reply)
            raise
        if behind.code not in (250, 421):
            raise SessionFailed(Phase.IDLE, Silence.MALFORMED, f"RSET was answered {behind}")
        self.hear_end(reply)
        self.is_to_repeat = self.is_to_repeat and not self.is_taken
        if behind.code == 421:
            read(Phase.IDLE)  # it hangs up, or else this 421 was no answer to RSET
            raise SessionFailed(Phase.IDLE, Silence.MALFORMED, f"RSET was answered {behind}, and more was said")

    def repeat(self) -> None:
        """Begin anew, without the options that the relay did not take."""
        self.forgo_options()
        self._start_again()

    def hear_end(self, reply: Reply) -> None:
        """Take the reply to the end of the content: who was accepted has the letter, whatever was said in between."""
        self.is_heard, self.is_ahead = True, False
        answer = Answer(Phase.CONTENT, reply)
        if _is_accepted(answer):
            self.answers |= dict.fromkeys(self.accepted, answer)
        self.decide(answer)

    def _is_admitted(self, replies: Sequence[Reply]) -> bool:
        """True when the content is asked for, and somebody would get it."""
        if not self._is_complete(replies) or self.is_decided:
            return False
        return replies[-1].is_positive if self.wording.has_chunks else replies[-1].code == 354

    def _is_complete(self, replies: Sequence[Reply]) -> bool:
        return len(replies) == 2 + len(self.wording.paths)

    def _leave(self, replies: Sequence[Reply]) -> None:
        """Nothing is to be sent: leave the session in step for the next letter."""
        if self._is_complete(replies):
            self.decide(Answer(Phase.DATA, replies[-1]))
            if replies[-1].code == 354:
                self._leave_data()
        if self.session.is_usable and (replies[-1].code == 421 or not self._is_alive()):
            self.session.close()
            if self.is_ahead:
                self.abandon(Answer(Phase.IDLE, Silence.CONNECTION_LOST, "the session ended, or was out of step"))
        self.is_ahead = False

    def _is_alive(self) -> bool:
        # Where BDAT is not known, the octet of its chunk stands before the first RSET, and makes it an unknown command.
        return self.session.is_alive() or (self.wording.has_chunks and self.session.is_alive())

    def _leave_data(self) -> None:
        """Pipelined, and a lenient relay waits for content though nobody is to get any."""
        if self.accepted:
            # It would take the empty content for a letter to them.
            self.session.close()
            return
        self.session.write(contents.END, Phase.IDLE)
        self.session.read(Phase.IDLE)

    def _write_content(self, ask: Callable[[], None], follow: Callable[[], Transaction | None]) -> None:
        head, tail = contents.split(self.submission.content)
        for chunk in head:
            self._write(chunk)
        if not self._may_end(ask):
            return
        following = follow()
        commands = b""
        if following:
            commands = b"".join(following.group)
            following.begin(ahead=True)
        self._write_end(tail + commands, len(tail))

    def _write_chunks(self, ask: Callable[[], None]) -> None:
        head, tail = contents.pieces(self.submission.content, begun=1)
        for chunk in head:
            self._write(b"".join((b"BDAT %d\r\n" % len(chunk), chunk)))
            reply = self.session.read(Phase.BODY)
            if not reply.is_positive:
                # No chunk follows one that was not taken: the letter is not accepted by halves (RFC 3030 §2).
                self.decide(Answer(Phase.BODY, reply))
                self._leave([reply])
                return
        if self._may_end(ask):
            last = b"BDAT %d LAST\r\n%b" % (len(tail), tail)
            self._write_end(last, len(last))

    def _may_end(self, ask: Callable[[], None]) -> bool:
        if self.may_end is None or (self.may_end and clock.steady_s() - self.asked_s > self.window_s):
            ask()
        if not self.may_end:
            # Only hanging up keeps the relay from taking what has no end.
            self.session.close()
        return bool(self.may_end)

    def _write_end(self, octets: bytes, end: int) -> None:
        self.ends_at = self.session.sent + end
        try:
            self._write(octets)
        except SessionFailed:
            if not self.is_ended:
                raise
            # What failed came behind the end: the answer is still awaited.

    def _write(self, octets: bytes) -> None:
        try:
            self.session.write(octets, Phase.BODY)
        except SessionFailed as failed:
            raise self._early_reply() or failed from None

    def _early_reply(self) -> SessionFailed | None:
        """A relay that stops in the middle of the content may have said why: that is its answer."""
        if not self.is_ended and self.session.has_leftover:
            with contextlib.suppress(SessionFailed):
                return SessionFailed(Phase.BODY, self.session.read(Phase.BODY))
        return None


def _is_accepted(answer: Answer) -> bool:
    return outcome(answer).outcome is Outcome.ACCEPTED


def _batches(commands: Sequence[bytes], *, pipelined: bool) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for each in commands:
        if batch and (not pipelined or size + len(each) > BATCH_OCTETS):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each)
    yield batch
