"""Accepting a letter that came over the queue: as strictly as at the caller. A malformed one is put aside, and kept."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from postroom.bell import Bells
from postroom.errors import InvalidLetter, NewerSchema
from postroom.ledger import NewLetter
from postroom.letter import Letter
from postroom.reply import printable
from postroom.sending import Postroom
from postroom.states import LetterState
from postroom_worker.office import Office

log = logging.getLogger("postroom")


def accept_letter(office: Office, bells: Bells, letter: Any, message_id: str) -> str:
    """Accept a letter, or put it aside as `rejected` with its error.

    Args:
        office: where it is recorded.
        bells: rung for it.
        letter: its JSON, as text or as an object.
        message_id: the queue message's own id: one that comes twice, as the broker's may, is one letter all the same.

    Returns:
        its id.

    Raises:
        NewerSchema: it was left for newer workers, in the queue of its schema.
        InvalidLetter: it was put aside; the error says why.
        LedgerUnavailable: Redis is away; it may have been accepted, and trying again is safe.
        kombu's OperationalError: it is for newer workers, and the broker is away.
    """
    text = letter if isinstance(letter, str) else json.dumps(letter)
    digest = hashlib.blake2b(message_id.encode("utf-8", "replace"), digest_size=16).hexdigest()
    try:
        made = Letter.from_json(text, office.settings, default_id=f"task-{digest}")
        return Postroom(office.settings, ledger=office.ledger, bells=bells).send(made).id
    except NewerSchema as error:
        bells.leave(letter, message_id, error.schema)
        log.error("a letter on the queue: %s", error)
        raise
    except InvalidLetter as error:
        letter_id = f"rejected-{digest}"
        office.ledger.accept(
            NewLetter(
                id=letter_id,
                letter=text.encode("utf-8", "backslashreplace"),
                digest=hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest(),
                recipients=(),
                state=LetterState.REJECTED,
                give_up_in_ms=0,
                queue="",
                reason=printable(str(error), 2000),
            )
        )
        log.error("a letter on the queue was put aside as %s: %s", letter_id, error)
        raise
