"""Accepting a letter that came over the queue: as strictly as at the caller. A malformed one is put aside, and kept."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any, NoReturn

from postroom.bell import Bells
from postroom.errors import InvalidLetter, LedgerUnavailable, NewerSchema, invalid
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
        Exception: so it was, for a fault of ours.
        LedgerUnavailable: Redis is away; it may have been accepted, and trying again is safe.
        kombu's OperationalError: it is for newer workers, and the broker is away.
    """
    digest = hashlib.blake2b(message_id.encode("utf-8", "replace"), digest_size=16).hexdigest()
    try:
        text = letter if isinstance(letter, str) else json.dumps(letter, default=_no_json)
        made = Letter.from_json(text, office.settings, default_id=f"task-{digest}")
        return Postroom(office.settings, ledger=office.ledger, bells=bells).send(made).id
    except NewerSchema as error:
        bells.leave(letter, message_id, error.schema)
        log.error("a letter on the queue: %s", error)
        raise
    except InvalidLetter as error:
        _put_aside(office, letter, digest, str(error))
        raise
    except LedgerUnavailable:
        raise
    except Exception as error:
        # Once the task has ended, the message is gone: whatever we did not foresee, the letter is kept.
        _put_aside(office, letter, digest, f"it could not be accepted, by a fault of ours: {type(error).__name__}")
        raise


def _no_json(value: object) -> NoReturn:
    # Celery's JSON gives back times, decimals and octets as what they were for the publisher.
    what = f"it holds a {type(value).__name__}, which is no JSON"
    raise invalid("letter", what, "publish text, numbers, lists and objects, as docs/letter-json.md says")


def _put_aside(office: Office, letter: Any, digest: str, why: str) -> None:
    letter_id = f"rejected-{digest}"
    octets = _as_it_came(letter).encode("utf-8", "backslashreplace")
    office.ledger.accept(
        NewLetter(
            id=letter_id,
            letter=octets,
            digest=hashlib.blake2b(octets, digest_size=16).hexdigest(),
            recipients=(),
            state=LetterState.REJECTED,
            give_up_in_ms=0,
            queue="",
            reason=printable(why, 2000),
        )
    )
    log.error("a letter on the queue was put aside as %s: %s", letter_id, why)


def _as_it_came(letter: Any) -> str:
    try:
        return letter if isinstance(letter, str) else json.dumps(letter, default=repr)
    except RecursionError:
        return "(nested too deeply to be written down)"
