"""Content transfer encodings, judged by `binascii` and by the rules of RFC 2045 §6."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroom.mime.transfer_encoding import (
    ENCODINGS,
    choose,
    decode,
    encode,
    encode_in_pieces,
    fits,
    has_canonical_newlines,
    normalize_newlines,
)

AWKWARD = st.lists(
    st.sampled_from(
        [
            *[
                b"a",
                b".",
                b"..",
                b"From ",
                b"from ",
                b"F",
                b"=",
                b"=41",
                b"= ",
                b" ",
                b"\t",
                b"\r\n",
                b"\r\n.\r\n",
                b"\r\n ",
            ],
            *[b"\xe9", "日本".encode(), b"-", b"--", b"_", b"?", b"~", b"\x7f", b"\x0b", b"\x0c", b"\x1c", b"\x85"],
            *[b"x" * 70, b"." * 75, b"=" * 26, b"word " * 15, "я".encode() * 40],
        ]
    ),
    max_size=30,
).map(b"".join)
RAW = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b".", b"a", b" ", b"=", b"\xff", b"x" * 74]), max_size=30
).map(b"".join)


# Which encoding


@pytest.mark.parametrize(
    ("octets", "encoding"),
    [
        (b"", "7bit"),
        (b"hi!! this is my first mime-compliant programmatic email!", "7bit"),
        (b"two\r\nlines\r\n", "7bit"),
        (b"\x1b$B\x1b(B", "7bit"),
        (b"\t\x0b\x0c\x1c\x1d\x1e\x7f", "7bit"),
        (b"x" * 998, "7bit"),
        (b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n", "7bit"),
        (b"x" * 999, "quoted-printable"),
        (b"ok\r\n" + b"x" * 999 + b"\r\nok", "quoted-printable"),
        (b"x\r\n" * 5000 + b"y" * 999, "quoted-printable"),
        (b"bare\nline feed and some more text", "quoted-printable"),
        (b"bare\rreturn and some more text", "quoted-printable"),
        (b"a NUL: \0 in a longer line of text", "quoted-printable"),
        (b"\0", "quoted-printable"),  # "=00" is as short as "AA==", and a character shorter
        (b"\0\0", "base64"),
        ("Grüße aus Köln, und bis bald".encode(), "quoted-printable"),
        ("é".encode(), "base64"),
        ("日本語のテキスト".encode(), "base64"),
        ("Добрый день".encode(), "base64"),
    ],
)
def test_text_travels_bare_where_it_can_and_else_in_the_shorter_encoding(octets: bytes, encoding: str) -> None:
    assert choose(octets, textual=True) == encoding


@pytest.mark.parametrize("octets", [b"", b"plain", b"\0\xff", b"a\r\n"])
def test_octets_that_are_no_text_travel_as_base64(octets: bytes) -> None:
    assert choose(octets, textual=False) == "base64"


@given(AWKWARD | RAW)
def test_the_shorter_encoding_is_chosen_exactly(octets: bytes) -> None:
    chosen = choose(octets, textual=True)
    if chosen == "7bit":
        assert fits(octets, "7bit")
    else:
        assert not fits(octets, "7bit")
        is_shorter = len(encode(octets, "quoted-printable")) < len(encode(octets, "base64"))
        assert chosen == ("quoted-printable" if is_shorter else "base64")


@pytest.mark.parametrize(
    ("octets", "seven", "eight"),
    [
        (b"", True, True),
        (b"a\r\n", True, True),
        ("ä\r\n".encode(), False, True),
        (b"\x80", False, True),
        (b"\0", False, False),
        (b"a\n", False, False),
        (b"a\rb", False, False),
        (b"a\r\r\nb", False, False),
        (b"a\n\r", False, False),
        (b"\r\n\0.\r\n", False, False),
        (b"x" * 998 + b"\r\n", True, True),
        (b"x" * 999 + b"\r\n", False, False),
        (b"\xe9" * 999, False, False),
    ],
)
def test_what_may_travel_bare(octets: bytes, seven: bool, eight: bool) -> None:
    assert fits(octets, "7bit") is seven
    assert fits(octets, "8bit") is eight
    assert fits(octets, "base64")
    assert fits(octets, "quoted-printable")


@given(st.lists(st.integers(0, 1100), max_size=8), st.booleans())
def test_a_line_over_998_octets_never_goes_bare(lengths: list[int], ends: bool) -> None:
    octets = b"\r\n".join(b"x" * length for length in lengths) + (b"\r\n" if ends else b"")
    assert fits(octets, "7bit") is (max(lengths, default=0) <= 998)


# Line ends


@pytest.mark.parametrize(
    ("given_octets", "canonical"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb", b"a\r\nb"),
        (b"a\rb", b"a\r\nb"),
        (b"a\n\nb", b"a\r\n\r\nb"),
        (b"a\r\r\nb", b"a\r\n\r\nb"),
        (b"a\n\rb", b"a\r\n\r\nb"),
        (b"\n.\r\n", b"\r\n.\r\n"),
        (b"\n.\n", b"\r\n.\r\n"),
        (b"\r\n.\n", b"\r\n.\r\n"),
        (b"\r.\r\n", b"\r\n.\r\n"),
        (b"\r\n.\r", b"\r\n.\r\n"),
        (b"\r\r\n.\r\r\n", b"\r\n\r\n.\r\n\r\n"),
        (b"\r\n\0.\r\n", b"\r\n\0.\r\n"),
        (
            "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i".encode(),
            "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i".encode(),
        ),
    ],
)
def test_bare_line_ends_become_crlf_and_nothing_else_ends_a_line(given_octets: bytes, canonical: bytes) -> None:
    assert normalize_newlines(given_octets) == canonical


@given(RAW)
def test_normalized_text_has_no_bare_line_end_and_loses_nothing(octets: bytes) -> None:
    normalized = normalize_newlines(octets)
    assert has_canonical_newlines(normalized)
    assert normalize_newlines(normalized) is normalized
    assert re.split(rb"\r\n", normalized) == re.split(rb"\r\n|\r|\n", octets)


# Base64


@pytest.mark.parametrize("length", [*range(120), 57 * 1024 - 1, 57 * 1024, 57 * 1024 + 1, 57 * 2048, 200_000])
def test_base64_has_lines_of_76_columns_and_no_line_end_after_the_last(length: int) -> None:
    octets = bytes(range(256)) * (length // 256 + 1)
    octets = octets[:length]
    encoded = encode(octets, "base64")
    assert encoded == base64.encodebytes(octets).rstrip(b"\n").replace(b"\n", b"\r\n")
    lines = encoded.split(b"\r\n")
    assert all(len(line) == 76 for line in lines[:-1])
    assert len(lines[-1]) <= 76
    assert decode(encoded, "base64") == octets


def test_base64_of_much_is_made_in_pieces() -> None:
    pieces = encode_in_pieces(b"\xff" * 1_000_000, "base64")
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 100_000
    assert binascii.a2b_base64(b"".join(pieces)) == b"\xff" * 1_000_000


@pytest.mark.parametrize(
    ("encoded", "octets"),
    [
        (b"YWJj", b"abc"),
        (b"YW\r\nJj\r\n", b"abc"),
        (b"YWI=", b"ab"),
        (b"YWI", b"ab"),
        (b"YQ", b"a"),
        (b"YWJjY", b"abc"),
        (b"Y!W*Jj", b"abc"),
        (b"", b""),
        (b"Y", b""),
    ],
)
def test_base64_is_read_leniently(encoded: bytes, octets: bytes) -> None:
    assert decode(encoded, "base64") == octets


# Quoted-printable


@pytest.mark.parametrize(
    ("octets", "encoded"),
    [
        (b"", b""),
        (b"plain", b"plain"),
        ("é".encode(), b"=C3=A9"),
        (b"1+1=2", b"1+1=3D2"),
        (b"end \r\nend\t\r\n", b"end=20\r\nend=09\r\n"),
        (b"end ", b"end=20"),
        (b"end\t", b"end=09"),
        (b" \r\n", b"=20\r\n"),
        (b"a b\tc", b"a b\tc"),
        (b".", b"=2E"),
        (b"a\r\n.\r\nb", b"a\r\n=2E\r\nb"),
        (b"a\r\n\r\n.\r\nMAIL FROM:<x>\r\n", b"a\r\n\r\n=2E\r\nMAIL FROM:<x>\r\n"),
        (b"..", b"=2E."),
        (b"a.b", b"a.b"),
        (b"From me", b"=46rom me"),
        (b"a\r\nFrom me", b"a\r\n=46rom me"),
        (b"From: me", b"From: me"),
        (b"from me", b"from me"),
        (b"\0\x01\x0b\x0c\x1c\x7f", b"=00=01=0B=0C=1C=7F"),
        (b"a\rb", b"a=0Db"),
        (b"a\nb", b"a=0Ab"),
        (b"a\nb\r\nc", b"a=0Ab=0D=0Ac"),
        (b"\r\n", b"\r\n"),
        (b"x" * 75, b"x" * 75),
        (b"x" * 76, b"x" * 75 + b"=\r\nx"),
        (b"x" * 74 + b"=", b"x" * 74 + b"=\r\n=3D"),
        (b"x" * 73 + b"=y", b"x" * 73 + b"=\r\n=3Dy"),
        (b"x" * 72 + b"=y", b"x" * 72 + b"=3D=\r\ny"),
        (b"x" * 75 + b".y", b"x" * 74 + b"=\r\nx.y"),
        (b"x" * 75 + b"From y", b"x" * 74 + b"=\r\nxFrom y"),
        (b"x" * 50 + b"." * 40, b"x" * 49 + b"=\r\nx" + b"." * 31 + b"=2E" + b"." * 8),
        (b"." + b"x" * 75, b"=2E" + b"x" * 72 + b"=\r\nxxx"),
        (b"x" * 74 + b" \r\n", b"x" * 74 + b"=\r\n=20\r\n"),
    ],
)
def test_quoted_printable_by_example(octets: bytes, encoded: bytes) -> None:
    assert encode(octets, "quoted-printable") == encoded


@given(AWKWARD | RAW | st.binary(max_size=400))
@example(b"." * 1000)
@example(b"From " * 300)
@example(b" " * 1000)
@example(b"x" * 75 + b"." * 75)
@example(b"." * 75)
def test_quoted_printable_is_read_back_and_survives_the_way(octets: bytes) -> None:
    encoded = encode(octets, "quoted-printable")
    assert quopri.decodestring(encoded) == octets
    assert decode(encoded, "quoted-printable") == octets
    assert re.search(rb"[^\t -~\r\n]", encoded) is None
    assert has_canonical_newlines(encoded)
    assert re.sub(rb"=(?:[0-9A-F]{2}|\r\n)", b"", encoded).find(b"=") == -1
    lines = encoded.split(b"\r\n")
    for line in lines:
        assert len(line) <= 76
        assert not line.endswith((b" ", b"\t"))
        assert not line.startswith((b".", b"From "))
    assert len(lines[-1]) <= 75  # a final "=" has room


@given(AWKWARD)
def test_quoted_printable_keeps_the_lines_of_text(octets: bytes) -> None:
    encoded = encode(octets, "quoted-printable").replace(b"=\r\n", b"")
    assert encoded.count(b"\r\n") == octets.count(b"\r\n")


@pytest.mark.parametrize("encoding", ["7bit", "8bit"])
def test_bare_encodings_leave_octets_alone(encoding: str) -> None:
    assert encode(b"a\r\n", encoding) == decode(b"a\r\n", encoding) == b"a\r\n"


@given(st.binary(max_size=2000), st.sampled_from(sorted(ENCODINGS)))
def test_pieces_joined_are_the_whole(octets: bytes, encoding: str) -> None:
    assert b"".join(encode_in_pieces(octets, encoding)) == encode(octets, encoding)


@pytest.mark.parametrize(
    "octets",
    [
        *[b"x" * 1_000_000, b"." * 1_000_000, b"\r\n" * 500_000, b" " * 1_000_000, b"=" * 1_000_000],
        *[b"From " * 200_000, b"\r\n." * 300_000, b"\n" * 1_000_000, b"\0" * 1_000_000, "é".encode() * 500_000],
    ],
)
def test_a_million_octets_take_no_longer_than_their_number_asks(octets: bytes) -> None:
    started = time.process_time()
    choose(octets, textual=True)
    encode(octets, "quoted-printable")
    encode(octets, "base64")
    normalize_newlines(octets)
    assert time.process_time() - started < 2
