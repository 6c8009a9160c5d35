"""aiosmtplib on one connection that is kept, in a loop, without a queue."""

from __future__ import annotations

import asyncio

from aiosmtplib import SMTP

from message import message
from turns import SMTP_PORT, Letters, take_turns

loop = asyncio.new_event_loop()
smtp = SMTP(hostname="127.0.0.1", port=SMTP_PORT, start_tls=False)


async def send(letters: Letters) -> None:
    if not smtp.is_connected:
        await smtp.connect()
    for letter in letters:
        await smtp.send_message(message(letter))


take_turns(lambda letters: loop.run_until_complete(send(letters)))
