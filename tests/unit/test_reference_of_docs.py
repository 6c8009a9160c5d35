"""The reference has every public name, once."""

from __future__ import annotations

import re

import postroom
from pages import PAGES


def test_every_public_name_is_in_the_reference_once() -> None:
    told = [name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", PAGES["docs/python.md"], re.M)]
    assert sorted(told) == sorted({*postroom.__all__, "aio"} - {"__version__"})
