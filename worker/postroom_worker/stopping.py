"""Whether this worker is stopping. Its main process is told, its children see it: the memory is shared across fork."""

from __future__ import annotations

import mmap
from typing import Any

from celery.signals import worker_shutting_down

_shared = mmap.mmap(-1, 1)


def is_stopping() -> bool:
    """True from the moment the worker was asked to stop: the letter in hand is finished, the others are put back."""
    return _shared[0] != 0


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    _shared[0] = 1
