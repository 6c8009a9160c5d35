"""A letter as the standard library's documentation composes it."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

from turns import attachment


def message(letter: dict[str, Any]) -> EmailMessage:
    """Compose a letter."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = letter["from"], letter["to"], letter["subject"]
    made.set_content(letter["text"])
    made.add_alternative(letter["html"], subtype="html")
    if octets := attachment(letter):
        made.add_attachment(octets, maintype="application", subtype="octet-stream", filename="a.bin")
    return made
