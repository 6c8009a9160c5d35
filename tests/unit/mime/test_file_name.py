"""File names: the last component of any path, without what deceives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidLetter
from postroom.mime.file_name import LONGEST, clean


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.pdf", "a.pdf"),
        ("/etc/passwd", "passwd"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x", "x"),
        ("a.pdf\\", "a.pdf"),
        ("a.pdf//", "a.pdf"),
        ("a/b\\c", "c"),
        ("\u202eexe.pdf", "exe.pdf"),
        ("a\u2066b\u2069c", "abc"),
        ("a/\u202e/b", "b"),
        ("..a", "..a"),
        ("a.", "a."),
        ("a ", "a "),
        ("ｆｕｌｌ／ｗｉｄｔｈ", "ｆｕｌｌ／ｗｉｄｔｈ"),
    ],
)
def test_a_name_is_the_last_of_its_path(path: str, name: str) -> None:
    assert clean(path, "name") == name


@pytest.mark.parametrize(
    "path",
    [
        *["", "/", "\\", ".", "..", "a/.", "a/..", " ", ". .", "\u202e", "a/\u202e", "a\r\n.txt", "a\0", "a\x1b[2J"],
        *["a\x7f", "caf\udce9.pdf", "a" * (LONGEST + 1), "a" * 1_000_000, None, 5, b"a.txt"],
    ],
)
def test_what_is_no_name_is_refused(path: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        clean(path, "name")
    (problem,) = caught.value.problems
    assert problem.field == "name"
    assert len(str(problem)) < 400


@given(st.text())
def test_a_clean_name_stays_as_it_is(path: str) -> None:
    try:
        name = clean(path, "name")
    except InvalidLetter:
        return
    assert clean(name, "name") == name
    assert not set(name) & set("/\\\r\n\0\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
