"""The page about the origin: every weakness of it is there, with the test that shows what became of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "origin.md").read_text("utf-8")
ROWS = re.findall(r"^\| (W-[0-9]{2}) \|(.*)\|$", PAGE, re.MULTILINE)


def test_every_weakness_is_there_once_and_in_order() -> None:
    assert [number for number, _ in ROWS] == [f"W-{number:02}" for number in range(1, 49)]


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[number for number, _ in ROWS])
def test_every_weakness_names_a_test_or_says_that_there_is_none_yet(number: str, row: str) -> None:
    *_, shown_by = row.split(" | ")
    assert re.search(r"`\w+(?:/\w+)+\.py::\w+`", shown_by) or shown_by.strip().startswith("not yet: "), number


def test_every_table_has_as_many_cells_in_each_row() -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE)
    assert len(tables) >= 8
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1, table.splitlines()[0]
