"""Access tokens (OAuth 2.0): given by a function of the organisation's own, which the relay's description names."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable

from postroom.errors import InvalidSettings

_PATH = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")

TokenSource = Callable[[str], str]
"""Called with the user; returns an access token that is good now."""


def token_source(path: str) -> TokenSource:
    """Return the function that ``package.module:function`` names.

    Raises:
        InvalidSettings: there is none. The message does not show what is no such path: it may be a token.
    """
    if not _PATH.fullmatch(path):
        raise InvalidSettings("it is no package.module:function")
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:
        # Importing runs code that is not ours: whatever it raises means that there is no such function.
        raise InvalidSettings(f"{path} cannot be imported ({type(error).__name__})") from None
    if not callable(found):
        raise InvalidSettings(f"{path} is no function")
    return found  # type: ignore[no-any-return]
