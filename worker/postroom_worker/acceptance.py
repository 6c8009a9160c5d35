"""Accepting a letter that came over the queue: as strictly as at the caller. A malformed one is put aside, and kept."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from postroom import clock
from postroom.bell import Bells
from postroom.errors import InvalidLetter
from postroom.ledger import NewLetter
from postroom.letter import Letter
from postroom.letter_id import new_id
from postroom.reply import printable
from postroom.sending import Postroom
from postroom.states import LetterState
from postroom_worker.delivery import Office

log = logging.getLogger("postroom")


def accept_letter(office: Office, bells: Bells, letter: Any) -> str:
    """Accept a letter, or put it aside as `rejected` with its error.

    Args:
        office: where it is recorded.
        bells: rung for it.
        letter: its JSON, as text or as an object.

    Returns:
        its id.

    Raises:
        NewerSchema: it is left to newer workers.
        InvalidLetter: it was put aside; the error says why, and its id.
        LedgerUnavailable: Redis is away; it was not accepted.
    """
    text = letter if isinstance(letter, str) else json.dumps(letter)
    try:
        made = Letter.from_json(text, office.settings)
        return Postroom(office.settings, ledger=office.ledger, bells=bells).send(made).id
    except InvalidLetter as error:
        letter_id = new_id(clock.wall_ms())
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
