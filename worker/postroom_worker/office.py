"""The office of this process: made once, at the first letter; a child of fork() makes its own connections."""

from __future__ import annotations

import os
import socket
from functools import lru_cache

from postroom.ledger import open_ledger
from postroom.settings import process_settings
from postroom_worker.delivery import Office


@lru_cache(maxsize=1)
def office() -> Office:
    """Return the office of this process."""
    settings = process_settings()
    return Office.open(settings, open_ledger(settings), f"{socket.gethostname()}:{os.getpid()}")


os.register_at_fork(after_in_child=office.cache_clear)
