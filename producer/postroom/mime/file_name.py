"""File names as a letter may carry them: the name alone, in any script (RFC 2183 §2.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from postroom.errors import invalid
from postroom.mime import header

LONGEST: Final = 1000
"""Characters of a file name: no file system known has longer ones."""

_LONGEST_PATH: Final = 32_767
_BIDI_OVERRIDES: Final = re.compile("[\u202a-\u202e\u2066-\u2069]+")


def clean(path: str, field: str) -> str:
    """Return the file name at the end of a path, of whatever system.

    Bidirectional overrides are dropped: with one, ``invoice-fdp.exe`` reads as ``invoice-exe.pdf``.

    Args:
        path: a file name, with or without folders before it, ``/`` or ``\\`` between them.
        field: the name that an error gives.

    Raises:
        InvalidLetter: there is no file name, or it is too long, or it holds controls or lone surrogates (a name on disk
            that is not in the system's encoding).
    """
    if not isinstance(path, str):
        raise invalid(field, f"it is {type(path).__name__}", "give a str")
    if len(path) > _LONGEST_PATH:
        raise invalid(field, f"it has {len(path)} characters", f"shorten it to {LONGEST}")
    return _clean(path, field)


@lru_cache(maxsize=256)
def _clean(path: str, field: str) -> str:
    name = _BIDI_OVERRIDES.sub("", path.replace("\\", "/").rstrip("/").rpartition("/")[2])
    if not name.strip(". "):
        raise invalid(field, f"{path[:80]!r} has no file name in it", "name the file")
    return header.check_text(name, field, LONGEST)
