"""The docs name tests as their witnesses: each of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGES = {path.name: path.read_text("utf-8") for path in sorted((TESTS.parent / "docs").glob("*.md"))}
NAMED = [
    (page, file, name)
    for page, text in PAGES.items()
    for file, name in sorted(set(re.findall(r"`((?:unit|integration|chaos)/\w+\.py)::(\w+)`", text)))
]


@cache
def functions_of(file: str) -> frozenset[str]:
    module = ast.parse((TESTS / file).read_text("utf-8"))
    return frozenset(node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_pages_name_tests() -> None:
    assert {"faults.md", "origin.md"} <= {page for page, _, _ in NAMED}


@pytest.mark.parametrize(("page", "file", "name"), NAMED, ids=[f"{page}-{name}" for page, _, name in NAMED])
def test_every_test_that_a_page_names_exists(page: str, file: str, name: str) -> None:
    assert name in functions_of(file), page
