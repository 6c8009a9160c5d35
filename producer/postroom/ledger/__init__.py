"""The ledger: the record of every letter and recipient, in Redis. The only door to Redis."""

from postroom.ledger.availability import available
from postroom.ledger.connection import open_ledger
from postroom.ledger.record import Account, Claim, LetterStatus, Recipient, RecipientStatus
from postroom.ledger.transitions import Bell, Finish, Ledger, NewLetter

__all__ = [
    "Account",
    "Bell",
    "Claim",
    "Finish",
    "Ledger",
    "LetterStatus",
    "NewLetter",
    "Recipient",
    "RecipientStatus",
    "available",
    "open_ledger",
]
