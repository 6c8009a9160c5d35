"""The same for asyncio: each function is the one of its name, run in a thread; nothing is written twice.

Cancelling a call leaves its thread to finish, on a connection that nobody else uses meanwhile: the letter is accepted
or not, never half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from postroom import sending
from postroom.ledger import LetterStatus
from postroom.letter import Letter
from postroom.receipt import Receipt


async def send_letter(*args: Any, **keywords: Any) -> Receipt:
    """Send a letter: see `postroom.send_letter`."""
    return await asyncio.to_thread(sending.send_letter, *args, **keywords)


async def send_letters(
    letters: Iterable[Letter], *, chunk: int = 100, progress: Callable[[int], None] | None = None
) -> list[Receipt]:
    """Send many letters: see `postroom.send_letters`; `progress` is called in the thread."""
    return await asyncio.to_thread(sending.send_letters, letters, chunk=chunk, progress=progress)


async def status(receipt: Receipt) -> LetterStatus:
    """Return what became of a letter so far: see `Receipt.status`."""
    return await asyncio.to_thread(receipt.status)


async def wait(receipt: Receipt, timeout_s: float = 60.0) -> LetterStatus:
    """Wait until a letter is settled: see `Receipt.wait`."""
    return await asyncio.to_thread(receipt.wait, timeout_s)


async def cancel(receipt: Receipt) -> LetterStatus:
    """Cancel a letter: see `Receipt.cancel`."""
    return await asyncio.to_thread(receipt.cancel)
