"""Reading what a caller attaches: the one door to files. Nothing is ever fetched from elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from postroom.errors import InvalidLetter, invalid

_BLOCK: Final = 1 << 20
# Opening a FIFO would wait for whoever writes it.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read(file: str | Path | IO[bytes], limit: int, field: str) -> bytes:
    """Return the octets of a file.

    Args:
        file: the path of a regular file; or an open binary file, read from where it stands to its end and left open.
        limit: the most octets.
        field: the name that an error gives.

    Raises:
        InvalidLetter: it is neither, cannot be read, has more octets, or became shorter while it was read.
    """
    if isinstance(file, str | Path):
        return _read_path(file, limit, field)
    if not callable(getattr(file, "read", None)):
        raise invalid(field, f"it is {type(file).__name__}", "give a path, or an open binary file")
    return _read_stream(file, limit, field)


def name_of(file: str | Path | IO[bytes] | None) -> str | None:
    """Return the path that a file was opened by; None when it has none."""
    name = str(file) if isinstance(file, str | Path) else getattr(file, "name", None)
    # A file descriptor is its own name, and "<stdin>" is none.
    return name if isinstance(name, str) and name and not name.startswith("<") else None


def _read_path(path: str | Path, limit: int, field: str) -> bytes:
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise invalid(field, f"{str(path)[:200]!r} cannot be opened: {reason}", "give the path of a file") from None
    try:
        # What was opened is what is checked: a path may lead elsewhere by now.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise invalid(field, f"{str(path)[:200]!r} is no regular file", "give the path of a file")
        if status.st_size > limit:
            raise _too_large(status.st_size, limit, field)
        octets = _drain(partial(os.read, descriptor), status.st_size, field)
    finally:
        os.close(descriptor)
    if len(octets) < status.st_size:
        raise invalid(field, f"{str(path)[:200]!r} became shorter while it was read", "attach it once it is complete")
    return octets


def _read_stream(stream: IO[bytes], limit: int, field: str) -> bytes:
    octets = _drain(stream.read, limit + 1, field)
    if len(octets) > limit:
        raise _too_large(len(octets), limit, field)
    return octets


def _drain(read_some: Callable[[int], bytes], size: int, field: str) -> bytes:
    """Return up to `size` octets, held in memory once."""
    buffer = BytesIO()
    while room := size - buffer.tell():
        try:
            block = read_some(min(room, _BLOCK))
        except (OSError, ValueError) as error:
            raise invalid(field, f"it cannot be read: {error}", "give an open, readable file") from None
        if not isinstance(block, bytes):
            raise invalid(field, f"it gives {type(block).__name__}, not bytes", "open it in binary mode")
        if not block:
            break
        buffer.write(block)
    return buffer.getvalue()


def _too_large(size: int, limit: int, field: str) -> InvalidLetter:
    return invalid(field, f"it has {size} octets or more, and {limit} are allowed", "send a link to it instead")
