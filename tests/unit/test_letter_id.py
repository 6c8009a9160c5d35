"""Letter ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom import InvalidLetter
from postroom.letter_id import check_id, id_of_key, new_id


def test_ids_sort_by_the_time_they_were_made() -> None:
    moments = [0, 1, 999, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1]
    ids = [new_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {26}


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(5) for _ in range(10_000)}) == 10_000


@given(st.integers(0, 2**48 - 1))
def test_a_new_id_can_stand_in_keys_and_headers(now_ms: int) -> None:
    assert check_id(new_id(now_ms)).isalnum()


@given(st.text(), st.text())
def test_a_key_is_one_letter_and_another_key_another(one: str, other: str) -> None:
    try:
        first, second = id_of_key(one), id_of_key(other)
    except UnicodeEncodeError:
        return  # an unpaired surrogate is refused with the keyword
    assert (first == second) == (one == other)
    assert check_id(first) == first


def test_the_id_of_a_key_stays_the_same_for_ever() -> None:
    assert id_of_key("order-1") == "key-56eea00bbcad2f0a2ca2cc13492405d7"


@pytest.mark.parametrize("letter_id", ["a", "A-b_9", "x" * 64])
def test_an_id_that_is_one(letter_id: str) -> None:
    assert check_id(letter_id) == letter_id


@pytest.mark.parametrize(
    "letter_id",
    ["", "x" * 65, "a b", "a\n", "a:b", "{a}", "*", "../x", "ä", "٣", "a\x00", None, 5, b"a", ["a"]],
)
def test_an_id_that_is_none_is_refused(letter_id: str) -> None:
    with pytest.raises(InvalidLetter) as refused:
        check_id(letter_id, "ids[0]")
    assert [problem.field for problem in refused.value.problems] == ["ids[0]"]
