"""A transaction: MAIL, RCPT for each, DATA, the content (RFC 5321 §3.3); pipelined where it is offered (RFC 2920).

What it returns is an answer for every recipient: the reply, or its absence, that decides about it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from postroom.envelope import Envelope
from postroom.reply import Reply
from postroom_worker.outcome import Answer, Outcome, Phase, Scope, Silence, outcome
from postroom_worker.smtp.session import Session, command
from postroom_worker.smtp.wire import SessionFailed

log = logging.getLogger("postroom")

_BATCH_OCTETS = 4096
"""Commands written before their replies are read: more could fill the buffers of both sides, and block both."""
_TAIL_OCTETS = 32 * 1024
"""How much of the content goes in one write with its end: small letters go whole."""
_END = b".\r\n"

Answers = dict[str, Answer]


class Withheld(Exception):
    """The end of the content is not to be sent: nobody was accepted."""


class ClaimLost(Withheld):
    """The letter is not ours any more; its end was not sent."""


def transmit(
    session: Session, envelope: Envelope, content: Sequence[bytes], enter_window: Callable[[], bool]
) -> Answers:
    """Submit one letter.

    Args:
        session: where; closed unless it can serve the next letter.
        envelope: from whom, to whom.
        content: the message, with CRLF line ends, in chunks.
        enter_window: called before the end of the content is sent; False stops the transaction there.

    Returns:
        for each forward-path the answer that decides about it.

    Raises:
        Withheld: `enter_window` said so, or raised it; nobody was accepted. Nothing else is raised: what goes wrong,
            with the relay or with us, is an answer.
    """
    session.letters += 1
    transaction = _Transaction(session, envelope, content)
    try:
        transaction.run(enter_window)
    except SessionFailed as failed:
        transaction.decide(failed.answer)
        session.close()
    except Exception as error:
        session.close()
        if isinstance(error, Withheld):
            raise
        log.exception("a transaction with %s ended by a fault of ours", session.relay)
        phase = Phase.CONTENT if transaction.is_ended else Phase.BODY
        transaction.decide(Answer(phase, Silence.MALFORMED, f"a fault of ours: {type(error).__name__}"))
    except BaseException:
        session.close()
        raise
    if session.is_usable and session.has_leftover:
        session.close()
    return transaction.answers


@dataclass(slots=True)
class _Transaction:
    session: Session
    envelope: Envelope
    content: Sequence[bytes]
    answers: Answers = field(default_factory=dict)
    """Of the recipients that are decided."""
    is_ended: bool = False
    """True from just before the end of the content is sent."""
    paths: Sequence[str] = field(init=False)
    """The recipients that are named to the relay."""
    size: int = field(init=False)
    is_ascii: bool = field(init=False)
    is_utf8: bool = field(init=False)
    """SMTPUTF8 is needed for everybody: the sender, or an address in the header, is outside ASCII (RFC 6531 §3.2)."""

    def __post_init__(self) -> None:
        self.paths = self.envelope.recipients
        self.size = sum(map(len, self.content))
        self.is_ascii = all(chunk.isascii() for chunk in self.content)
        has_utf8_header = not self.is_ascii and not _header(self.content).isascii()
        self.is_utf8 = has_utf8_header or not self.envelope.reverse_path.isascii()

    def run(self, enter_window: Callable[[], bool]) -> None:
        lacking = self._lacking()
        if lacking:
            self.decide(lacking)
        if self._is_decided:
            return
        before = dict(self.answers)
        replies = self._exchange()
        if replies[0].code == 555 and self.session.features.pop("size", None) is not None:
            # It does not take a parameter that it offered: once more, without (RFC 5321 §4.1.1.11).
            self._leave(replies)
            if not self.session.is_usable:
                return
            self.answers = before
            replies = self._exchange()
        if not self._admitted(replies):
            self._leave(replies)
            return
        self._write_content(enter_window)
        self.decide(Answer(Phase.CONTENT, self.session.read(Phase.CONTENT)))

    def decide(self, answer: Answer) -> None:
        """Give this answer to everybody who has none yet."""
        for path in self.envelope.recipients:
            self.answers.setdefault(path, answer)

    def _lacking(self) -> Answer | None:
        """What the letter needs and the relay does not offer; a recipient who alone needs it is decided alone."""
        if "smtputf8" not in self.session.features:
            if self.is_utf8:
                return Answer(Phase.MAIL, Silence.NOT_OFFERED, "SMTPUTF8, which an address in the letter needs")
            lacking = Answer(Phase.RCPT, Silence.NOT_OFFERED, "SMTPUTF8, which this address needs")
            self.answers |= {path: lacking for path in self.paths if not path.isascii()}
            self.paths = [path for path in self.paths if path.isascii()]
        if not self.is_ascii and "8bitmime" not in self.session.features:
            return Answer(Phase.MAIL, Silence.NOT_OFFERED, "8BITMIME, which the content needs")
        limit = self.session.features.get("size", "")
        if limit.isdecimal() and limit.isascii() and 0 < int(limit) < self.size:
            return Answer(Phase.MAIL, Silence.NOT_OFFERED, f"SIZE: the letter has {self.size} octets, it takes {limit}")
        return None

    def _commands(self) -> list[bytes]:
        features = self.session.features
        mail = f"MAIL FROM:<{self.envelope.reverse_path}>"
        if "size" in features:
            mail += f" SIZE={self.size}"
        if not self.is_ascii:
            mail += " BODY=8BITMIME"
        if self.is_utf8 or not all(path.isascii() for path in self.paths):
            mail += " SMTPUTF8"
        return [command(mail), *(command(f"RCPT TO:<{path}>") for path in self.paths), command("DATA")]

    def _exchange(self) -> list[Reply]:
        """Write the commands, in batches if they may be pipelined, and read a reply for each.

        Stops early at a refused MAIL, and before a DATA that nobody would receive.
        """
        phases = [Phase.MAIL, *(Phase.RCPT for _ in self.paths), Phase.DATA]
        replies: list[Reply] = []
        for batch in _batches(self._commands(), pipelined="pipelining" in self.session.features):
            if phases[len(replies)] is Phase.DATA and self._is_decided:
                break
            self.session.write(b"".join(batch), phases[len(replies)])
            for _ in batch:
                place = len(replies)
                replies.append(self.session.read(phases[place]))
                self._note(place, Answer(phases[place], replies[place]))
            if not replies[0].is_positive:
                break
        return replies

    def _note(self, place: int, answer: Answer) -> None:
        row = outcome(answer)
        if answer.phase is Phase.DATA or row.outcome is Outcome.ACCEPTED:
            return
        if answer.phase is Phase.MAIL:
            self.decide(answer)
        elif row.scope is Scope.RECIPIENT:
            self.answers.setdefault(self.paths[place - 1], answer)
        elif not self._is_decided:
            # It concerns the whole letter, or the relay: nothing else is to be said in this session.
            raise SessionFailed(answer.phase, answer.met)

    def _admitted(self, replies: Sequence[Reply]) -> bool:
        """True when the content is asked for, and somebody would get it."""
        return self._is_complete(replies) and replies[-1].code == 354 and not self._is_decided

    @property
    def _is_decided(self) -> bool:
        return len(self.answers) == len(self.envelope.recipients)

    def _is_complete(self, replies: Sequence[Reply]) -> bool:
        return len(replies) == 2 + len(self.paths)

    def _leave(self, replies: Sequence[Reply]) -> None:
        """Nothing is to be sent: leave the session in step for the next letter."""
        if self._is_complete(replies):
            self.decide(Answer(Phase.DATA, replies[-1]))
            if replies[-1].code == 354:
                self._leave_data(replies)
        if self.session.is_usable and (replies[-1].code == 421 or not self.session.is_alive()):
            self.session.close()

    def _leave_data(self, replies: Sequence[Reply]) -> None:
        """Pipelined, and a lenient relay waits for content though nobody is to get any."""
        if any(reply.is_positive for reply in replies[1:-1]):
            # It would take the empty content for a letter to them.
            self.session.close()
            return
        self.session.write(_END, Phase.IDLE)
        self.session.read(Phase.IDLE)

    def _write_content(self, enter_window: Callable[[], bool]) -> None:
        head, tail = _split(list(stuffed(self.content)))
        try:
            for chunk in head:
                self.session.write(chunk, Phase.BODY)
            if not enter_window():
                raise ClaimLost
            self.is_ended = True
            # The end is the last octets of the write: if it fails, they were not sent.
            self.session.write(tail, Phase.BODY)
        except SessionFailed as failed:
            raise self._early_reply() or failed from None

    def _early_reply(self) -> SessionFailed | None:
        """A relay that stops in the middle of the content may have said why: that is its answer."""
        if self.session.has_leftover:
            with contextlib.suppress(SessionFailed):
                return SessionFailed(Phase.BODY, self.session.read(Phase.BODY))
        return None


def _header(content: Sequence[bytes]) -> bytes:
    """The header of a message in chunks; the blank line may lie across two."""
    header = b""
    for chunk in content:
        header += chunk
        if b"\r\n\r\n" in header:
            break
    return header.partition(b"\r\n\r\n")[0]


def _batches(commands: Sequence[bytes], *, pipelined: bool) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for each in commands:
        if batch and (not pipelined or size + len(each) > _BATCH_OCTETS):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each)
    yield batch


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks with every line's leading dot doubled (RFC 5321 §4.5.2), then the end of the content.

    It makes no difference where the chunks are cut. A last line without its CRLF gets it.
    """
    before = b"\r\n"  # the two octets before the chunk: the content begins at the beginning of a line
    for chunk in chunks:
        if not chunk:
            continue
        body = chunk.replace(b"\r\n.", b"\r\n..")
        if (before == b"\r\n" and chunk[:1] == b".") or (before[-1:] == b"\r" and chunk[:2] == b"\n."):
            cut = body.index(b".")
            body = body[:cut] + b"." + body[cut:]
        before = (before + chunk[-2:])[-2:]
        yield body
    yield _END if before == b"\r\n" else b"\r\n" + _END


def _split(chunks: Sequence[bytes]) -> tuple[list[bytes], bytes]:
    """Return what is written before the window, and the last octets, which end the content."""
    if sum(map(len, chunks)) <= _TAIL_OCTETS:
        return [], b"".join(chunks)
    return list(chunks[:-1]), chunks[-1]
