"""The way in: check the letter, keep its contents, record it in the ledger, ring the bell, give a receipt."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from kombu.exceptions import OperationalError

from postroom import letter_json
from postroom.bell import BULK_QUEUE, QUEUE, Bells
from postroom.errors import InvalidLetter, Problem, invalid
from postroom.ledger import Bell, Ledger, NewLetter, Recipient, open_ledger
from postroom.letter import Letter
from postroom.receipt import Receipt
from postroom.settings import Settings, process_settings
from postroom.states import LetterState

log = logging.getLogger("postroom")


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
        new, contents = new_letter(letter, self.settings)
        self.ledger.contents.keep(letter.id, contents)
        if self.ledger.accept(new) == "other":
            raise _taken(letter)
        if new.state is LetterState.QUEUED:
            ring(self.bells, Bell(letter.id, new.queue, new.summary))
        return self.receipt(letter.id)

    def send_letters(
        self, letters: Iterable[Letter], *, chunk: int = 100, progress: Callable[[int], None] | None = None
    ) -> list[Receipt]:
        """Send many letters, in order.

        Args:
            letters: any iterable; a letter is taken from it only when its turn has come.
            chunk: after how many letters `progress` is told.
            progress: called with the number of letters accepted so far.

        Raises:
            InvalidLetter: as `send`; the letters before it were accepted.
            LedgerUnavailable: as `send`; the letters before it were accepted.
        """
        receipts: list[Receipt] = []
        for letter in letters:
            receipts.append(self.send(letter))
            if progress and len(receipts) % chunk == 0:
                progress(len(receipts))
        if progress:
            progress(len(receipts))
        return receipts

    def receipt(self, letter_id: str) -> Receipt:
        """Return the receipt of a letter accepted earlier."""
        return Receipt(letter_id, self.ledger)


def new_letter(letter: Letter, settings: Settings) -> tuple[NewLetter, dict[str, bytes]]:
    """Return what the ledger records of a letter, and the contents to keep beside it."""
    text, contents = letter_json.encode(letter, contents_over=settings.contents_over)
    recipients = letter.envelope.recipients
    scheduled = letter.send_at_ms is not None
    return NewLetter(
        id=letter.id,
        letter=text,
        digest=letter_json.digest(letter),
        recipients=[Recipient(address) for address in recipients],
        state=LetterState.SCHEDULED if scheduled else LetterState.QUEUED,
        due_ms=letter.send_at_ms or 0,
        expires_in_ms=letter.expires_in_ms,
        give_up_in_ms=int(settings.give_up_s * 1000),
        queue=BULK_QUEUE if letter.priority == "bulk" else QUEUE,
        on_uncertain=letter.on_uncertain,
        subject=letter.subject or "",
        sender=letter.from_.address,
        summary=summary(recipients),
        contents=tuple(contents),
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
    try:
        bells.ring(bell)
    except (OperationalError, OSError) as error:
        log.warning("letter %s is accepted, but the broker is away (%s): it goes out later", bell.letter_id, error)
        return False
    return True


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


def send_letter(to: Any = (), message: Any = None, **keywords: Any) -> Receipt:
    """Send a letter; one call, a string is enough.

        send_letter("ann@example.com", "hi!", from_="bob@example.com")

    Takes the keywords of `Letter`, and returns a receipt: when it does, the letter is durable in the ledger.

    Raises:
        InvalidLetter: something in it cannot be sent; it names every problem, and nothing was queued.
        LedgerUnavailable: Redis is away, full or read-only; the letter may have been accepted, and sending it again
            under the same id or idempotency key is safe.
    """
    return default().send(Letter(to, message, **keywords))


def send_letters(
    letters: Iterable[Letter], *, chunk: int = 100, progress: Callable[[int], None] | None = None
) -> list[Receipt]:
    """Send many letters through the process's own Postroom: see `Postroom.send_letters`."""
    return default().send_letters(letters, chunk=chunk, progress=progress)
