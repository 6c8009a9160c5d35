"""The mail task that everyone writes first: a message, a connection, send. ``celery -A naive_celery worker``."""

from __future__ import annotations

import smtplib
import ssl
from typing import Any

from celery import Celery

from message import message
from turns import CA_FILE, REDIS_URL, SMTP_PORT, Letters, take_turns

app = Celery("naive", broker=REDIS_URL)


@app.task(name="send_mail")
def send_mail(letter: dict[str, Any]) -> None:
    """Send a letter."""
    with smtplib.SMTP("localhost" if CA_FILE else "127.0.0.1", SMTP_PORT) as smtp:
        if CA_FILE:
            smtp.starttls(context=ssl.create_default_context(cafile=CA_FILE))
        smtp.send_message(message(letter))


def queue(letters: Letters) -> None:
    for letter in letters:
        send_mail.delay(letter)


if __name__ == "__main__":
    take_turns(queue)
