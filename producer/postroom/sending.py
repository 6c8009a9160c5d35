"""The way in: check the letter, keep its contents, record it in the ledger, ring the bell, give a receipt."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from inspect import signature
from itertools import islice
from typing import Any, ParamSpec

from postroom import letter_json, tracing
from postroom.bell import AWAY, Bells
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.errors import InvalidLetter, PartlySent, PostroomError, Problem, invalid
from postroom.ledger import Bell, Ledger, NewLetter, Recipient, open_ledger
from postroom.letter import Letter
from postroom.receipt import Receipt
from postroom.settings import Settings, process_settings
from postroom.states import LetterState

log = logging.getLogger("postroom")
P = ParamSpec("P")


class Postroom:
    """Sends letters through one ledger and broker. Safe to share between threads, and across a fork."""

    def __init__(
        self, settings: Settings | None = None, *, ledger: Ledger | None = None, bells: Bells | None = None
    ) -> None:
        """Open the ledger and the broker that the settings name; both connect at first use.

        Args:
            settings: by default those of the process's environment.
            ledger: one that is open already.
            bells: of a Celery app that is there already.

        Raises:
            InvalidSettings: a URL cannot be read.
        """
        self.settings = settings or process_settings()
        self.ledger = ledger or open_ledger(self.settings)
        self.bells = bells or Bells.of(self.settings)

    def send_letter(self, *args: Any, **kwargs: Any) -> Receipt:
        """Make a `Letter` of these keywords and send it: see `postroom.send_letter`."""
        return self.send(Letter(*args, settings=self.settings, **kwargs))

    def send(self, letter: Letter) -> Receipt:
        """Send a letter: when this returns, it is durable in the ledger.

        Raises:
            InvalidLetter: its idempotency key or id is that of another letter.
            LedgerUnavailable: Redis is away, full or read-only; the letter may have been accepted, and sending it
                again is safe.
        """
        with tracing.accepting([letter.id]) as trace:
            new, contents = new_letter(letter, self.settings, trace=trace)
            self.ledger.contents.keep(letter.id, contents)
            if self.ledger.accept(new) == "other":
                raise _taken(letter)
            if new.state is LetterState.QUEUED:
                ring(self.bells, Bell(letter.id, new.queue, new.summary))
        return self.receipt(letter.id)

    def send_letters(
        self, letters: Iterable[Letter], *, chunk: int = 100, progress: Callable[[int], None] | None = None
    ) -> list[Receipt]:
        """Send many letters in bulk, in order: they travel in chunks, and behind every letter sent alone.

        While a chunk is recorded the next one is taken and made, so that neither we nor Redis wait for the other.

        Args:
            letters: any iterable; a chunk is taken from it when the one before is on its way.
            chunk: how many are recorded in one round trip, and carried by one task.
            progress: called after each chunk with the number of letters accepted so far.

        Raises:
            InvalidLetter: `chunk` is none.
            PartlySent: a letter could not be made or sent, or Redis went away; its cause says which and why, and it
                carries the receipts of those that were accepted. When Redis went away, the chunk in hand may have been.
        """
        if chunk < 1:
            raise invalid("chunk", f"it is {chunk}", "give 1 or more")
        receipts: list[Receipt] = []
        for _ in self._send_chunks(_chunks(letters, chunk), receipts):
            if progress:
                progress(len(receipts))
        return receipts

    def _send_chunks(
        self, chunks: Iterable[tuple[list[Letter], Exception | None]], receipts: list[Receipt]
    ) -> Iterator[None]:
        """Send chunks, and yield after each."""
        error, under_way = None, None
        try:
            for some, ended_by in chunks:
                error = ended_by
                if under_way:
                    next(under_way, None)
                    yield
                under_way = self._send_chunk(some, receipts)
                next(under_way)
            if under_way:
                next(under_way, None)
                yield
        except PostroomError as refused:
            raise PartlySent(receipts) from refused
        if error:
            raise PartlySent(receipts) from error

    def _send_chunk(self, letters: Sequence[Letter], receipts: list[Receipt]) -> Iterator[None]:
        """Send a chunk at the first ``next``; at the second wait until it is recorded, ring, and add the receipts."""
        with tracing.accepting([letter.id for letter in letters]) as trace:
            news = self._new_letters(letters, trace)
            recorded = self.ledger.begin_accept(news)
            yield
            answers = recorded()
            ours = [new for new, answer in zip(news, answers, strict=True) if answer != "other"]
            ready = [new.id for new in ours if new.state is LetterState.QUEUED]
            if ready:
                with _broker_may_be_away(f"{len(ready)} letters"):
                    self.bells.ring_chunk(ready, BULK_QUEUE)
            receipts += [self.receipt(new.id) for new in ours]
            if len(ours) < len(letters):
                raise _taken(letters[answers.index("other")])

    def _new_letters(self, letters: Sequence[Letter], trace: str) -> list[NewLetter]:
        """What the ledger is to record of letters, whose contents it keeps by then."""
        sha256s = letter_json.Sha256s()
        news, kept = [], {}
        for letter in letters:
            new, contents = new_letter(letter, self.settings, BULK_QUEUE, sha256s, trace=trace)
            news.append(new)
            if contents:
                kept[letter.id] = contents
        self.ledger.contents.keep_all(kept)
        return news

    def receipt(self, letter_id: str) -> Receipt:
        """Return the receipt of a letter accepted earlier."""
        return Receipt(letter_id, self.ledger)


def _chunks(letters: Iterable[Letter], size: int) -> Iterator[tuple[list[Letter], Exception | None]]:
    """Yield lists of so many letters; what ends the iterable early comes with the last."""
    source = iter(letters)
    while True:
        some: list[Letter] = []
        try:
            some.extend(islice(source, size))
        except Exception as error:  # whatever the caller's iterable raises, what it gave before is sent
            yield some, error
            return
        if not some:
            return
        yield some, None


def new_letter(
    letter: Letter,
    settings: Settings,
    queue: str | None = None,
    sha256s: letter_json.Sha256s | None = None,
    *,
    trace: str = "",
) -> tuple[NewLetter, dict[str, bytes]]:
    """Return what the ledger records of a letter, and the contents to keep beside it.

    Args:
        letter: what was handed in.
        settings: for limits and times.
        queue: the queue it travels in, on its retries too; by default what its priority says.
        sha256s: the digests of what it may share with other letters.
        trace: the trace that it is accepted in.
    """
    text, contents, digest = letter_json.write(letter, settings.contents_over, sha256s)
    recipients = letter.recipients
    scheduled = letter.send_at_ms is not None
    return NewLetter(
        id=letter.id,
        letter=text,
        digest=digest,
        recipients=[Recipient(address) for address in recipients],
        state=LetterState.SCHEDULED if scheduled else LetterState.QUEUED,
        due_ms=letter.send_at_ms or 0,
        expires_in_ms=letter.expires_in_ms,
        give_up_in_ms=int(settings.give_up_s * 1000),
        queue=queue or (BULK_QUEUE if letter.priority == "bulk" else QUEUE),
        on_uncertain=letter.on_uncertain,
        subject=letter.subject or "",
        sender=letter.from_.address,
        summary=summary(recipients),
        tags=letter.tags,
        contents=tuple(contents),
        trace=trace,
    ), contents


def summary(recipients: tuple[str, ...]) -> str:
    """Return what a monitor may show of the recipients: ``a…@example.org +2``."""
    local, _, domain = recipients[0].rpartition("@")
    more = f" +{len(recipients) - 1}" if len(recipients) > 1 else ""
    return f"{local[:1]}…@{domain}{more}"


def ring(bells: Bells, bell: Bell) -> bool:
    """Ring the bell; if the broker is away the letter is safe, and the schedule rings in its time.

    Returns:
        whether it rang: who rings for many letters need not try the next.
    """
    with _broker_may_be_away(f"letter {bell.letter_id}"):
        bells.ring(bell)
        return True
    return False


@contextmanager
def _broker_may_be_away(what: str) -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        log.warning("%s: accepted, but the broker is away (%s): to be sent later", what, error)


def _taken(letter: Letter) -> InvalidLetter:
    if letter.idempotency_key:
        return invalid("idempotency_key", "another letter was sent under it", "use one key for one letter")
    return InvalidLetter([Problem("id", f"{letter.id} is another letter's", "leave it out")])


@lru_cache(maxsize=1)
def default() -> Postroom:
    """Return the process's own Postroom, of its environment."""
    return Postroom()


# A child of fork() opens connections of its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=default.cache_clear)


def _sender(make: Callable[P, Letter]) -> Callable[P, Receipt]:
    """Return what makes a letter and sends it, with the same keywords: editors and type checkers know them all."""

    def send_letter(*args: P.args, **keywords: P.kwargs) -> Receipt:
        """Send a letter; one call, a string is enough.

            send_letter("ann@example.com", "hi!", from_="bob@example.com")

        Takes the keywords of `Letter`, and returns a receipt: when it does, the letter is durable in the ledger.

        Raises:
            InvalidLetter: something in it cannot be sent; it names every problem, and nothing was queued.
            LedgerUnavailable: Redis is away, full or read-only; the letter may have been accepted, and sending it
                again under the same id or idempotency key is safe.
        """
        return default().send(make(*args, **keywords))

    # inspect.signature reads this attribute (PEP 362); mypy knows it of no function.
    send_letter.__signature__ = signature(make).replace(return_annotation=Receipt)  # type: ignore[attr-defined]
    return send_letter


send_letter = _sender(Letter)


def send_letters(
    letters: Iterable[Letter], *, chunk: int = 100, progress: Callable[[int], None] | None = None
) -> list[Receipt]:
    """Send many letters through the process's own Postroom: see `Postroom.send_letters`."""
    return default().send_letters(letters, chunk=chunk, progress=progress)
