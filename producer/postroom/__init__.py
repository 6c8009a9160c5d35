"""Postroom sends an organisation's mail.

from postroom import send_letter

send_letter("ann@example.com", "hi!", from_="bob@example.com", subject="lunch")
"""

from postroom.address import Group, Mailbox
from postroom.envelope import Envelope
from postroom.errors import (
    InvalidLetter,
    InvalidSettings,
    LedgerUnavailable,
    NewerSchema,
    PartlySent,
    PostroomError,
    Problem,
    TooLate,
    UnknownLetter,
)
from postroom.ledger import LetterStatus, RecipientStatus
from postroom.letter import Letter
from postroom.merging import merge
from postroom.mime.encoded_word import decode_header
from postroom.mime.part import Part, make_mime_part
from postroom.receipt import Receipt
from postroom.sending import Postroom, send_letter, send_letters
from postroom.settings import Settings
from postroom.states import LetterState, RecipientState
from postroom.version import __version__

__all__ = [
    "Envelope",
    "Group",
    "InvalidLetter",
    "InvalidSettings",
    "LedgerUnavailable",
    "Letter",
    "LetterState",
    "LetterStatus",
    "Mailbox",
    "NewerSchema",
    "Part",
    "PartlySent",
    "Postroom",
    "PostroomError",
    "Problem",
    "Receipt",
    "RecipientState",
    "RecipientStatus",
    "Settings",
    "TooLate",
    "UnknownLetter",
    "__version__",
    "decode_header",
    "make_mime_part",
    "merge",
    "send_letter",
    "send_letters",
]
