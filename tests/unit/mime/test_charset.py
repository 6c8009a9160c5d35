"""Charsets of MIME text: which there are, and that none loses a character."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidLetter
from postroom.mime import charset as charsets
from postroom.mime.charset import codec_of, encode, holds

ALL = sorted({*charsets._MIME_NAMES.values(), *charsets._UNKNOWN_TO_PYTHON})


@pytest.mark.parametrize(
    ("given_name", "mime_name"),
    [
        ("us-ascii", "us-ascii"),
        ("ascii", "us-ascii"),
        ("ANSI_X3.4-1968", "us-ascii"),
        ("utf-8", "utf-8"),
        ("UTF8", "utf-8"),
        ("utf_8", "utf-8"),
        *[(f"iso-8859-{part}", f"iso-8859-{part}") for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)],
        ("latin-1", "iso-8859-1"),
        ("ISO_8859-1:1987", "iso-8859-1"),
        ("iso-8859-8-i", "iso-8859-8-i"),
        ("ISO-8859-6-E", "iso-8859-6-e"),
        *[(f"windows-125{page}", f"windows-125{page}") for page in range(9)],
        ("cp1252", "windows-1252"),
        ("windows-874", "windows-874"),
        ("cp874", "windows-874"),
        ("koi8-r", "koi8-r"),
        ("KOI8-U", "koi8-u"),
        ("iso-2022-jp", "iso-2022-jp"),
        ("iso-2022-jp-2", "iso-2022-jp-2"),
        ("iso-2022-kr", "iso-2022-kr"),
        ("Shift_JIS", "shift_jis"),
        ("sjis", "shift_jis"),
        ("windows-31j", "windows-31j"),
        ("euc-jp", "euc-jp"),
        ("euc-kr", "euc-kr"),
        ("ks_c_5601-1987", "euc-kr"),
        ("gb2312", "gb2312"),
        ("gbk", "gbk"),
        ("gb18030", "gb18030"),
        ("hz-gb-2312", "hz-gb-2312"),
        ("big5", "big5"),
        ("big5-hkscs", "big5-hkscs"),
        ("macintosh", "macintosh"),
        ("ibm850", "ibm850"),
        ("tis-620", "tis-620"),
    ],
)
def test_a_charset_goes_by_its_mime_name(given_name: str, mime_name: str) -> None:
    name, codec = codec_of(given_name, "charset")
    assert name == mime_name
    assert codec.encode("a") == (b"a", 1)


@pytest.mark.parametrize("name", ALL)
def test_every_mime_name_is_known_by_itself(name: str) -> None:
    assert codec_of(name, "charset")[0] == name


@pytest.mark.parametrize(
    "name",
    [
        "utf-7",
        "utf-8-sig",
        "utf-16",
        "utf-16le",
        "utf-32",
        "idna",
        "punycode",
        "rot13",
        "zlib",
        "base64",
        "hex",
        "unicode_escape",
        "raw_unicode_escape",
        "undefined",
        "mbcs",
        "oem",
        "charmap",
        "cp037",
        "x-unknown",
        "",
        " utf-8",
        "utf-8\n",
        "utf-8\0",
        'utf-8"; x="y',
        "utf-8; x=y",
        "../utf-8",
        "ütf-8",
        "a" * 1_000_000,
    ],
)
def test_what_is_no_charset_of_mail_text_is_refused(name: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        codec_of(name, "charset")
    (problem,) = caught.value.problems
    assert problem.field == "charset"
    assert len(str(problem)) < 200


def test_a_charset_that_is_no_str_is_refused() -> None:
    with pytest.raises(InvalidLetter):
        codec_of(None, "charset")  # type: ignore[arg-type]
    with pytest.raises(InvalidLetter):
        codec_of(["utf-8"], "charset")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "charset", "index", "character"),
    [
        ("Grüße", "us-ascii", 2, "U+00FC LATIN SMALL LETTER U WITH DIAERESIS"),
        ("10 €", "iso-8859-1", 3, "U+20AC EURO SIGN"),
        ("ab①", "iso-2022-jp", 2, "U+2460 CIRCLED DIGIT ONE"),
        ("a💩", "iso-2022-jp", 1, "U+1F4A9 PILE OF POO"),
        ("¥100", "shift_jis", 0, "U+00A5 YEN SIGN"),
        ("a‾", "euc-jp", 1, "U+203E OVERLINE"),
        ("ab\x1b$Bxx", "iso-2022-jp", 2, "U+001B"),
        ("\x0e", "iso-2022-kr", 0, "U+000E"),
        ("a\ue000", "gbk", 1, "U+E000 a character without a name"),
    ],
)
def test_the_first_character_that_a_charset_cannot_hold_is_named(
    text: str, charset: str, index: int, character: str
) -> None:
    with pytest.raises(InvalidLetter) as caught:
        encode(text, charset, "text")
    (problem,) = caught.value.problems
    assert problem.field == "text"
    assert f"index {index}," in problem.problem
    assert character in problem.problem
    assert charset in problem.problem


@pytest.mark.parametrize("text", ["a\ud800b", "\ud83d", "caf\udce9.pdf"])
@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "us-ascii", "iso-2022-jp"])
def test_half_a_surrogate_pair_is_refused(text: str, charset: str) -> None:
    with pytest.raises(InvalidLetter, match="half a surrogate pair"):
        encode(text, charset, "text")


@pytest.mark.parametrize("charset", sorted(set(ALL) - {"utf-8", "gb18030"}))
def test_no_character_is_written_as_another(charset: str) -> None:
    """Over all of the basic plane: what is not refused is read back, and only a line end has the octets of one."""
    _, codec = codec_of(charset, "charset")
    for character in map(chr, range(0x10000)):
        try:
            octets, _ = codec.encode(character)
        except UnicodeEncodeError:
            continue
        if charset not in charsets._INEXACT:
            assert codec.decode(octets)[0] == character
        assert re.search(rb"[\r\n]", octets) is None or character in "\r\n"


@pytest.mark.parametrize("charset", ALL)
def test_ascii_is_itself_in_every_charset(charset: str) -> None:
    octets = bytes(range(0x20, 0x7F)).replace(b"~", b"") + b"\t\r\n"
    assert encode(octets.decode(), charset, "text") == octets


@pytest.mark.parametrize("charset", ["iso-2022-jp", "iso-2022-jp-2", "hz-gb-2312"])
def test_each_line_begins_in_ascii(charset: str) -> None:
    lines = encode("中文\r\n中文\r\n", charset, "text").split(b"\r\n")
    assert lines[0] == lines[1] != b""
    assert lines[2] == b""


@given(text=st.text(max_size=60), charset=st.sampled_from(ALL))
def test_text_is_read_back_or_refused(text: str, charset: str) -> None:
    _, codec = codec_of(charset, "charset")
    try:
        octets = encode(text, charset, "text")
    except InvalidLetter as refusal:
        (problem,) = refusal.problems
        assert problem.field == "text"
        place = re.search(r"index (\d+)", problem.problem)
        assert place is not None
        assert f"U+{ord(text[int(place[1])]):04X}" in problem.problem
    else:
        assert codec.decode(octets)[0] == text
        assert holds(octets, charset, "text")


@pytest.mark.parametrize(
    ("octets", "charset", "held"),
    [
        (b"", "utf-8", True),
        ("é".encode(), "utf-8", True),
        (b"\xe9", "utf-8", False),
        (b"a" * 65_535 + "é".encode(), "utf-8", True),
        (b"a" * 200_000 + b"\xc3", "utf-8", False),
        (b"\xe9", "us-ascii", False),
        (b"\xe9", "iso-8859-1", True),
        (b"\xff\xfea\0", "utf-8", False),
    ],
)
def test_octets_are_text_in_a_charset_or_not(octets: bytes, charset: str, held: bool) -> None:
    assert holds(octets, charset, "charset") is held
