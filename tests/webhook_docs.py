"""What docs/webhooks.md gives to receivers: its code is what the tests verify webhooks by."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
DOCS = (Path(__file__).parents[1] / "docs/webhooks.md").read_text()


def documented() -> Callable[[dict[str, str], bytes, str], None]:
    """The function that the docs give to receivers."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[[dict[str, str], bytes, str], None] = names["verify"]
    return found
