"""smtplib on one connection that is kept, without a queue."""

from __future__ import annotations

import smtplib

from message import message
from turns import SMTP_PORT, Letters, take_turns

with smtplib.SMTP("127.0.0.1", SMTP_PORT) as smtp:

    def send(letters: Letters) -> None:
        for letter in letters:
            smtp.send_message(message(letter))

    take_turns(send)
