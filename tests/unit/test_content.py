"""The content on the wire: it ends where it ends, wherever its chunks are cut (RFC 5321 §4.5.2, RFC 3030)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroom_worker.smtp.content import TAIL_OCTETS, ended, first, pieces, split, stuffed, together

LINES = st.lists(st.sampled_from(["", ".", "..", "a", ".a", "a.", "...\t", "\x00", "é"]), max_size=8)
CONTENT = st.one_of(
    st.builds(
        lambda lines, end: "\r\n".join(lines).encode() + end, LINES, st.sampled_from([b"", b"\r\n", b"\r\n.\r\n"])
    ),
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n"]), max_size=12).map(b"".join),
)


def unstuffed(wire: bytes) -> bytes:
    """What a server makes of it, line by line; the end has to be the end."""
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2], "it would end here"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])


def cut(content: bytes, places: list[int]) -> list[bytes]:
    """Cut the content at these places."""
    marks = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[start:end] for start, end in pairwise(marks)]


@given(CONTENT, st.lists(st.integers(0, 1000), max_size=6))
@example(b"a\r\n.\r\nb", [3])
@example(b"a\r\n.\r\nb", [2, 3, 4])
@example(b".", [])
@example(b"", [])
@example(b"a\r\n\r\n.\r\nMAIL FROM:<x>\r\n", [])
def test_it_makes_no_difference_where_chunks_are_cut(content: bytes, places: list[int]) -> None:
    assert b"".join(stuffed(cut(content, places))) == b"".join(stuffed([content]))


@given(CONTENT)
@example(b"a\r\n.\r\nb")
@example(b"..\r\n.")
def test_a_server_gets_back_what_was_stuffed(content: bytes) -> None:
    ended = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert unstuffed(b"".join(stuffed([content]))) == ended


@given(CONTENT)
def test_every_split_of_a_content_in_two_is_the_same(content: bytes) -> None:
    whole = b"".join(stuffed([content]))
    for place in range(len(content) + 1):
        assert b"".join(stuffed([content[:place], content[place:]])) == whole


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.b\r\n", b"a\r\n..b\r\n.\r\n"),
        (b"a.b\r\n", b"a.b\r\n.\r\n"),
    ],
)
def test_what_goes_over_the_wire(content: bytes, wire: bytes) -> None:
    assert b"".join(stuffed([content])) == wire


@given(CONTENT, st.lists(st.integers(0, 1000), max_size=6))
def test_what_is_written_before_the_window_and_the_end_are_the_whole(content: bytes, places: list[int]) -> None:
    chunks = cut(content, places)
    head, tail = split(chunks)
    assert b"".join(head) + tail == b"".join(stuffed(chunks))
    if content:
        before, last = pieces(chunks, begun=1)
        assert first(chunks) + b"".join(before) + last == ended(chunks)


@pytest.mark.parametrize("size", [TAIL_OCTETS - 1, TAIL_OCTETS, TAIL_OCTETS + 1, TAIL_OCTETS + 2, 3 * 1024 * 1024])
def test_the_last_piece_of_a_large_letter_is_small(size: int) -> None:
    content = b"x" * (size - 2) + b"\r\n"
    head, tail = pieces([content[:100], content[100:]], begun=1)
    assert content[:1] + b"".join(head) + tail == content
    assert len(tail) <= TAIL_OCTETS
    assert all(0 < len(each) <= 1024 * 1024 for each in head)


def test_a_last_line_gets_its_end_with_either_command() -> None:
    assert ended([b"a", b"b"]) == b"ab\r\n"
    assert ended([b"a\r", b"\n"]) == b"a\r\n"
    assert ended([]) == b""


def test_the_chunks_of_a_small_letter_become_one_and_those_of_a_large_one_stay() -> None:
    assert together([b"a", b"", b"b"]) == [b"ab"]
    large = [b"x" * TAIL_OCTETS, b"y"]
    assert together(large) is large
