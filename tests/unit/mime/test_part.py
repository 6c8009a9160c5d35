"""Parts: what follows from what the caller gives, what is refused, and that a reader gets what was put in.

The rows of the origin's `make-mime-part` come first, then hostile and awkward input, then whatever hypothesis thinks
of. The judge of what is written is the standard library's parser.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email
import email.policy
import io
import os
import re
import time
from collections.abc import Callable
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidLetter
from postroom.mime.part import Part, make_attachment, make_inline, make_mime_part, text_part
from postroom.mime.part_rules import DEEPEST, MOST_PARTS
from postroom.mime.stored import Stored

DATA = Path(__file__).parents[2] / "data"
GREETING = "hi!! this is my first mime-compliant programmatic email!"
JAPANESE_OCTETS = (DATA / "iso-2022-jp.bin").read_bytes()
JAPANESE = JAPANESE_OCTETS.decode("iso-2022-jp")


def read(part: Part) -> EmailMessage:
    """What the standard library makes of a part."""
    message = email.message_from_bytes(part.as_bytes("seed"), policy=email.policy.default)
    for entity in message.walk():
        assert not entity.defects
    return message


def octets_of(message: Message) -> bytes:
    octets = message.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


def refused(**arguments: Any) -> dict[str, str]:
    """The fields that are refused, and what is wrong with each."""
    with pytest.raises(InvalidLetter) as caught:
        make_mime_part(**arguments)
    for problem in caught.value.problems:
        assert len(str(problem)) < 500
        assert problem.remedy
    return {problem.field: problem.problem for problem in caught.value.problems}


# The worked examples of the origin


def test_a_text_alone_is_enough() -> None:
    part = make_mime_part(text=GREETING)
    assert (part.content_type, part.charset, part.encoding) == ("text/plain", "utf-8", "7bit")
    assert part.disposition is None
    assert part.as_bytes() == (
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"hi!! this is my first mime-compliant programmatic email!\r\n"
    )


def test_japanese_travels_as_utf_8_in_base64_with_nothing_appended() -> None:
    part = make_mime_part(text=JAPANESE)
    assert (part.content_type, part.charset, part.encoding) == ("text/plain", "utf-8", "base64")
    message = read(part)
    assert octets_of(message) == JAPANESE.encode()
    assert message["content-transfer-encoding"] == "base64"
    assert message.get_content_charset() == "utf-8"


def test_japanese_in_iso_2022_jp_travels_as_its_own_304_octets() -> None:
    part = make_mime_part(text=JAPANESE, charset="iso-2022-jp")
    assert (part.content_type, part.charset, part.encoding) == ("text/plain", "iso-2022-jp", "7bit")
    assert len(JAPANESE_OCTETS) == 304
    assert part.as_bytes().partition(b"\r\n\r\n")[2] == JAPANESE_OCTETS + b"\r\n"
    assert part.text == JAPANESE


# What follows from what is given (the origin's summary of defaults, and its rows)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"text": "ascii"}, ("text/plain", "utf-8", "7bit", None, None)),
        ({"text": ""}, ("text/plain", "utf-8", "7bit", None, None)),
        ({"text": "日本語のテキスト"}, ("text/plain", "utf-8", "base64", None, None)),
        ({"text": "Grüße aus einer Stadt am Rhein, bis bald"}, ("text/plain", "utf-8", "quoted-printable", None, None)),
        ({"text": "x" * 999}, ("text/plain", "utf-8", "quoted-printable", None, None)),
        ({"text": b"\0\1"}, ("application/octet-stream", None, "base64", "inline", None)),
        ({"text": bytearray(b"abc")}, ("application/octet-stream", None, "base64", "inline", None)),
        ({"text": memoryview(b"abc")}, ("application/octet-stream", None, "base64", "inline", None)),
        ({"text": "<p>", "content_type": "text/html"}, ("text/html", "utf-8", "7bit", None, None)),
        ({"text": b"<p>", "content_type": "TEXT/HTML"}, ("text/html", "utf-8", "7bit", None, None)),
        ({"text": "é", "charset": "latin1"}, ("text/plain", "iso-8859-1", "quoted-printable", None, None)),
        ({"text": "{}", "content_type": "application/json"}, ("application/json", None, "7bit", "inline", None)),
        (
            {"text": "{}", "content_type": "application/json", "charset": "UTF8"},
            ("application/json", "utf-8", "7bit", "inline", None),
        ),
        ({"text": "a", "name": "a.txt"}, ("text/plain", "utf-8", "7bit", "inline", "a.txt")),
        ({"text": "a,b", "name": "a.csv", "attachment": True}, ("text/csv", "utf-8", "7bit", "attachment", "a.csv")),
        ({"text": b"%PDF", "name": "a.pdf"}, ("application/pdf", None, "base64", "inline", "a.pdf")),
        ({"text": b"%PDF", "name": "a.PDF"}, ("application/pdf", None, "base64", "inline", "a.PDF")),
        ({"text": b"%PDF", "name": "a"}, ("application/octet-stream", None, "base64", "inline", "a")),
        ({"text": "a", "attachment": True}, ("text/plain", "utf-8", "7bit", "attachment", None)),
        ({"text": "a", "disposition": "INLINE"}, ("text/plain", "utf-8", "7bit", "inline", None)),
        (
            {"text": "a", "disposition": "attachment", "attachment": True},
            ("text/plain", "utf-8", "7bit", "attachment", None),
        ),
        ({"text": "a", "disposition": "inline", "attachment": False}, ("text/plain", "utf-8", "7bit", "inline", None)),
        ({"text": "a", "attachment": False}, ("text/plain", "utf-8", "7bit", None, None)),
        ({"text": b"a", "attachment": False}, ("application/octet-stream", None, "base64", "inline", None)),
        ({"text": "a", "encoding": "Base64"}, ("text/plain", "utf-8", "base64", None, None)),
        ({"text": "é", "encoding": "8bit"}, ("text/plain", "utf-8", "8bit", None, None)),
        ({"text": "a", "parameters": {"charset": "us-ascii"}}, ("text/plain", "us-ascii", "7bit", None, None)),
        ({"text": "Subject: a\n\nb", "content_type": "message/rfc822"}, ("message/rfc822", None, "7bit", None, None)),
        ({"text": "Subject: a\n\né", "content_type": "message/rfc822"}, ("message/rfc822", None, "8bit", None, None)),
    ],
)
def test_what_is_not_said_follows_from_what_is(arguments: dict[str, Any], expected: tuple[Any, ...]) -> None:
    part = make_mime_part(**arguments)
    assert (part.content_type, part.charset, part.encoding, part.disposition, part.name) == expected


def test_subparts_make_a_multipart_without_an_encoding() -> None:
    one, two = make_mime_part("one"), make_mime_part("two")
    part = make_mime_part(subparts=[one, two])
    assert (part.content_type, part.encoding, part.disposition) == ("multipart/mixed", None, None)
    assert part.subparts == (one, two)
    message = read(part)
    assert message["content-transfer-encoding"] is None
    assert [octets_of(each) for each in message.iter_parts()] == [b"one", b"two"]


def test_subparts_come_before_the_file_name_in_deciding_the_type() -> None:
    assert make_mime_part(subparts=[make_mime_part("a")], name="a.pdf").content_type == "multipart/mixed"


@pytest.mark.parametrize(
    ("file_name", "octets", "expected"),
    [
        ("a.txt", b"plain\n", ("text/plain", "utf-8", "base64", "attachment")),
        ("a.TXT", "größe".encode("latin-1"), ("text/plain", None, "base64", "attachment")),
        ("a.csv", b"\xef\xbb\xbfa;b\n", ("text/csv", "utf-8", "base64", "attachment")),
        ("a.pdf", b"%PDF", ("application/pdf", None, "base64", "attachment")),
        ("a", b"\0", ("application/octet-stream", None, "base64", "attachment")),
        (".bashrc", b"a", ("application/octet-stream", None, "base64", "attachment")),
        ("a.tar.gz", b"\x1f\x8b", ("application/gzip", None, "base64", "attachment")),
        ("a.eml", b"Subject: a\n\nbody\n", ("message/rfc822", None, "7bit", "attachment")),
        ("b.eml", b"Subject: a\n\n\xff\n", ("message/rfc822", None, "8bit", "attachment")),
        ("c.eml", b"Subject: a\n\n" + b"x" * 999, ("application/octet-stream", None, "base64", "attachment")),
        ("d.eml", b"\xef\xbb\xbfSubject: a\n\nb", ("application/octet-stream", None, "base64", "attachment")),
        ("e.eml", b"no message at all", ("application/octet-stream", None, "base64", "attachment")),
    ],
)
def test_a_file_is_an_attachment_and_its_type_follows_from_its_name(
    tmp_path: Path, file_name: str, octets: bytes, expected: tuple[Any, ...]
) -> None:
    path = tmp_path / file_name
    path.write_bytes(octets)
    for file in (path, str(path)):
        part = make_mime_part(file=file)
        assert (part.content_type, part.charset, part.encoding, part.disposition) == expected
        assert part.name == file_name
        is_message = part.content_type == "message/rfc822"
        assert part.content == (octets.replace(b"\n", b"\r\n") if is_message else octets)
    with path.open("rb") as stream:
        part = make_mime_part(file=stream)
        assert (part.name, part.content_type) == (file_name, expected[0])
        assert stream.read() == b""
        assert not stream.closed


def test_a_file_that_is_no_attachment_is_a_body(tmp_path: Path) -> None:
    path = tmp_path / "body.txt"
    path.write_bytes(b"\xef\xbb\xbfone\ntwo")
    part = make_mime_part(file=path, attachment=False)
    assert (part.disposition, part.name, part.encoding) == (None, None, "7bit")
    assert part.content == b"one\r\ntwo"


def test_a_stream_is_read_from_where_it_stands_and_needs_no_name() -> None:
    stream = io.BytesIO(b"skipped, taken")
    stream.seek(9)
    part = make_mime_part(file=stream)
    assert (part.content, part.name, part.disposition) == (b"taken", None, "attachment")


@pytest.mark.parametrize("name", ["<stdin>", 3, "", None])
def test_a_stream_without_a_real_name_has_no_file_name(name: Any) -> None:
    stream = io.BytesIO(b"a")
    stream.name = name
    assert make_mime_part(file=stream).name is None


def test_the_name_given_is_stronger_than_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a")
    part = make_mime_part(file=path, name="b.csv")
    assert (part.name, part.content_type) == ("b.csv", "text/csv")


def test_octets_with_a_disposition_arrive_as_they_are_and_text_in_lines() -> None:
    octets = b"\xef\xbb\xbfone\ntwo\rthree"
    assert make_mime_part(octets, name="a.txt").content == octets
    assert make_mime_part(octets, content_type="text/plain", attachment=True).content == octets
    assert make_mime_part(octets, content_type="text/plain").content == b"one\r\ntwo\r\nthree"
    assert make_mime_part(octets.decode()).content == b"one\r\ntwo\r\nthree"
    assert make_mime_part(octets.decode(), name="a.txt").content == b"\xef\xbb\xbfone\r\ntwo\r\nthree"
    assert make_mime_part(octets.decode(), content_type="application/json").content == octets


@pytest.mark.parametrize(
    ("text", "start", "end", "taken"),
    [
        ("größe", 0, None, "größe"),
        ("größe", 2, None, "öße"),
        ("größe", 2, 4, "öß"),
        ("größe", 0, 0, ""),
        ("größe", 5, 5, ""),
    ],
)
def test_start_and_end_count_characters_of_a_str(text: str, start: int, end: int | None, taken: str) -> None:
    assert make_mime_part(text, start=start, end=end).text == taken


def test_start_and_end_count_octets_of_octets() -> None:
    assert make_mime_part(b"\0\1\2\3", start=1, end=3).content == b"\1\2"


def test_parameters_follow_boundary_and_charset_and_are_not_repeated() -> None:
    part = make_mime_part("BEGIN:VCALENDAR", content_type="text/calendar", parameters={"method": "REQUEST", "x": "ü"})
    assert b"Content-Type: text/calendar; charset=utf-8; method=REQUEST; x*=utf-8''%C3%BC\r\n" in part.as_bytes()
    related = make_mime_part(subparts=[part], content_type="multipart/related", parameters=[("type", "text/calendar")])
    assert re.search(rb'multipart/related;\s+boundary="[^"]+";\s+type="text/calendar"', related.as_bytes())
    assert make_mime_part("a", parameters={"Charset": "UTF-8"}).parameters == ()
    assert make_mime_part("a", charset="utf8", parameters={"charset": "UTF-8"}).charset == "utf-8"


def test_the_name_stands_in_both_places_and_a_given_parameter_wins() -> None:
    message = read(make_mime_part(b"a", name="größe.pdf"))
    assert message["content-disposition"].params["filename"] == "größe.pdf"
    assert message["content-type"].params["name"] == "größe.pdf"
    message = read(make_mime_part(b"a", name="a.pdf", parameters={"NAME": "b.pdf"}))
    assert message["content-disposition"].params["filename"] == "a.pdf"
    assert message["content-type"].params["name"] == "b.pdf"


def test_fields_stand_in_the_order_of_the_origin_and_those_of_the_caller_win() -> None:
    part = make_mime_part(
        b"a",
        headers=[("X-One", "1"), ("x-one", "2"), ("Content-Description", "the caller's")],
        content_id="<logo@x>",
        description="ours",
        name="a.png",
    )
    names = re.findall(rb"^([^ :\r\n]+):", part.as_bytes().partition(b"\r\n\r\n")[0], re.MULTILINE)
    assert names == [
        *[b"MIME-Version", b"X-One", b"x-one", b"Content-Description"],
        *[b"Content-Type", b"Content-Transfer-Encoding", b"Content-ID", b"Content-Disposition"],
    ]
    message = read(part)
    assert message["content-description"] == "the caller's"
    assert message["content-id"] == "<logo@x>"
    assert message.get_all("x-one") == ["1", "2"]
    assert part.header("X-ONE") == "1"
    assert part.header("content-type") is None


def test_headers_are_a_mapping_or_pairs_and_descriptions_any_text() -> None:
    assert make_mime_part("a", headers={"X-A": "ü"}).headers == (("X-A", "ü"),)
    message = read(make_mime_part("a", headers={"X-A": "ü"}, description="Größe 💩"))
    assert (message["x-a"], message["content-description"]) == ("ü", "Größe 💩")


def test_walking_visits_each_part_before_its_subparts_in_order() -> None:
    leaves = [make_mime_part(str(number)) for number in range(4)]
    inner = make_mime_part(subparts=leaves[1:3], content_type="multipart/alternative")
    outer = make_mime_part(subparts=[leaves[0], inner, leaves[3]])
    assert list(outer.walk()) == [outer, leaves[0], inner, leaves[1], leaves[2], leaves[3]]


def test_text_is_what_was_given() -> None:
    assert make_mime_part("one\ntwo\u2028three\x85\x1c").text == "one\ntwo\u2028three\x85\x1c"
    assert make_mime_part(b"\xff", content_type="text/plain", charset="koi8-r").text == "Ъ"
    with pytest.raises(ValueError, match="no content"):
        _ = make_mime_part(subparts=[make_mime_part("a")]).text
    with pytest.raises(ValueError, match="no content"):
        _ = Part("text/plain", Stored("0" * 64, 1), encoding="base64").text


def test_the_size_is_that_of_the_content() -> None:
    assert make_mime_part("größe").size == 7
    assert Part("text/plain", Stored("0" * 64, 4711), encoding="base64").size == 4711
    assert make_mime_part(subparts=[make_mime_part("a")]).size == 0


def test_a_part_cannot_be_changed() -> None:
    part = make_mime_part("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.content = b"b"  # type: ignore[misc]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({}, {"text"}),
        ({"content_type": "multipart/mixed"}, {"text"}),
        ({"text": "a", "file": "b"}, {"text"}),
        ({"text": "a", "subparts": []}, {"text"}),
        ({"file": "a", "subparts": []}, {"file"}),
        ({"text": "a", "content_type": "multipart/mixed"}, {"text"}),
        ({"file": "a", "content_type": "multipart/mixed"}, {"file"}),
        ({"subparts": [make_mime_part("a")], "content_type": "text/plain"}, {"subparts"}),
        ({"subparts": []}, {"subparts"}),
        ({"subparts": "abc"}, {"subparts"}),
        ({"subparts": make_mime_part("a")}, {"subparts"}),
        ({"subparts": [make_mime_part("a"), "b"]}, {"subparts[1]"}),
        ({"subparts": [make_mime_part("a")], "encoding": "base64"}, {"encoding"}),
        ({"subparts": [make_mime_part("a")], "encoding": "7bit"}, {"encoding"}),
        ({"subparts": [make_mime_part("a")], "charset": "utf-8"}, {"charset"}),
        ({"text": 4711}, {"text"}),
        ({"text": ["a"]}, {"text"}),
        ({"file": b"a.txt"}, {"file"}),
        ({"file": 3}, {"file"}),
        ({"text": "a", "start": -1}, {"start"}),
        ({"text": "a", "start": 2}, {"start"}),
        ({"text": "a", "end": 2}, {"end"}),
        ({"text": "a", "start": 1, "end": 0}, {"start"}),
        ({"text": "a", "start": True}, {"start"}),
        ({"text": "a", "end": 0.5}, {"end"}),
        ({"file": "a", "start": 1}, {"start"}),
        ({"text": "a", "attachment": True, "disposition": "inline"}, {"attachment"}),
        ({"text": "a", "attachment": False, "disposition": "attachment"}, {"attachment"}),
        ({"text": "a", "disposition": "form-data"}, {"disposition"}),
        ({"text": "a", "disposition": "inline\r\nBcc: x@y"}, {"disposition"}),
        ({"text": "a", "disposition": 1}, {"disposition"}),
        ({"text": "a", "encoding": "binary"}, {"encoding"}),
        ({"text": "a", "encoding": "7bit\r\n"}, {"encoding"}),
        ({"text": "a", "encoding": ""}, {"encoding"}),
        ({"text": "a", "encoding": 7}, {"encoding"}),
        ({"text": "é", "encoding": "7bit"}, {"encoding"}),
        ({"text": "a" * 999, "encoding": "7bit"}, {"encoding"}),
        ({"text": "é" * 999, "encoding": "8bit"}, {"encoding"}),
        ({"text": "a\0b", "encoding": "7bit"}, {"encoding"}),
        ({"text": b"a\nb", "encoding": "7bit"}, {"encoding"}),
        ({"text": b"a\rb", "encoding": "8bit"}, {"encoding"}),
        ({"text": "a", "charset": "utf-7"}, {"charset"}),
        ({"text": "a", "charset": 'utf-8"; x="y'}, {"charset"}),
        ({"text": "a", "parameters": {"charset": "rot13"}}, {"parameters['charset']"}),
        ({"text": "a", "charset": "utf-8", "parameters": {"charset": "latin1"}}, {"parameters['charset']"}),
        ({"text": "é", "charset": "us-ascii"}, {"text"}),
        ({"text": "a\ud800"}, {"text"}),
        ({"text": b"\xff", "content_type": "text/plain"}, {"charset"}),
        ({"text": b"\xff", "content_type": "text/plain", "charset": "utf-8"}, {"charset"}),
        ({"text": b"\xff", "name": "a.txt", "charset": "utf-8"}, {"charset"}),
        ({"text": "a", "content_type": "text"}, {"content_type"}),
        ({"text": "a", "content_type": "text/plain; charset=utf-8"}, {"content_type"}),
        ({"text": "a", "content_type": "text/plain; charset"}, {"content_type"}),
        ({"text": "a", "content_type": "text / plain"}, {"content_type"}),
        ({"text": "a", "content_type": "text/plain\r\nBcc: x@y"}, {"content_type"}),
        ({"text": "a", "content_type": "text/pl/ain"}, {"content_type"}),
        ({"text": "a", "content_type": "text/"}, {"content_type"}),
        ({"text": "a", "content_type": "/"}, {"content_type"}),
        ({"text": "a", "content_type": ""}, {"content_type"}),
        ({"text": "a", "content_type": "téxt/plain"}, {"content_type"}),
        ({"text": "a", "content_type": 1}, {"content_type"}),
        ({"text": "a", "content_type": "text/" + "x" * 1_000_000}, {"content_type"}),
        ({"text": "a", "parameters": {"x; name=evil.exe": "1"}}, {"parameters['x; name=evil.exe']"}),
        ({"text": "a", "parameters": {"a b": "1"}}, {"parameters['a b']"}),
        ({"text": "a", "parameters": {"a=": "1"}}, {"parameters['a=']"}),
        ({"text": "a", "parameters": {"a*": "1"}}, {"parameters['a*']"}),
        ({"text": "a", "parameters": {"": "1"}}, {"parameters['']"}),
        ({"text": "a", "parameters": {"a": "1\r\n"}}, {"parameters['a']"}),
        ({"text": "a", "parameters": {"a": "1\0"}}, {"parameters['a']"}),
        ({"text": "a", "parameters": [("a", "1"), ("A", "2")]}, {"parameters['A']"}),
        ({"text": "a", "parameters": {"boundary": "x"}}, {"parameters['boundary']"}),
        ({"text": "a", "parameters": "a=1"}, {"parameters"}),
        ({"text": "a", "parameters": {"a": 1}}, {"parameters"}),
        ({"text": "a", "parameters": ["ab"]}, {"parameters"}),
        ({"text": "a", "parameters": 7}, {"parameters"}),
        ({"text": "a", "headers": "X-A: b"}, {"headers"}),
        ({"text": "a", "headers": [("X-A", "b", "c")]}, {"headers"}),
        ({"text": "a", "headers": {"X-A": None}}, {"headers"}),
        ({"text": "a", "headers": {"X-A ": "b"}}, {"headers['X-A ']"}),
        ({"text": "a", "headers": {"X-A:": "b"}}, {"headers['X-A:']"}),
        ({"text": "a", "headers": {"X-é": "b"}}, {"headers['X-é']"}),
        ({"text": "a", "headers": {"From\u2028": "b"}}, {"headers['From\\u2028']"}),
        ({"text": "a", "headers": {"X-A": "b\n"}}, {"headers['X-A']"}),
        ({"text": "a", "headers": {"X-A": "b\r\nBcc: x@y"}}, {"headers['X-A']"}),
        ({"text": "a", "headers": {"X-A": "b\r\n c"}}, {"headers['X-A']"}),
        ({"text": "a", "headers": {"X-A": "b\0"}}, {"headers['X-A']"}),
        ({"text": "a", "headers": {"MIME-Version": "2.0"}}, {"headers['MIME-Version']"}),
        ({"text": "a", "headers": {"content-type": "text/html"}}, {"headers['content-type']"}),
        ({"text": "a", "headers": {"Content-Transfer-Encoding": "base64"}}, {"headers['Content-Transfer-Encoding']"}),
        ({"text": "a", "headers": {"Content-Length": "1"}}, {"headers['Content-Length']"}),
        ({"text": "a", "headers": {"Bcc": "x@y.de"}}, {"headers['Bcc']"}),
        ({"text": "a", "headers": {"Resent-Bcc": "x@y.de"}}, {"headers['Resent-Bcc']"}),
        ({"text": "a", "headers": {"DKIM-Signature": "v=1"}}, {"headers['DKIM-Signature']"}),
        ({"text": "a", "headers": {"Return-Path": "<x@y.de>"}}, {"headers['Return-Path']"}),
        ({"text": "a", "headers": [("Subject", "1"), ("subject", "2")]}, {"headers['subject']"}),
        ({"text": "a", "headers": [("From", "x@y.de"), ("from", "z@y.de")]}, {"headers['from']"}),
        ({"text": "a", "description": "b\r\nX: y"}, {"description"}),
        ({"text": "a", "description": 5}, {"description"}),
        ({"text": "a", "content_id": "a b"}, {"content_id"}),
        ({"text": "a", "content_id": "a>\r\nBcc: x@y"}, {"content_id"}),
        ({"text": "a", "content_id": "<<a>>"}, {"content_id"}),
        ({"text": "a", "content_id": ""}, {"content_id"}),
        ({"text": "a", "content_id": "é"}, {"content_id"}),
        ({"text": "a", "content_id": 5}, {"content_id"}),
        ({"text": "a", "content_id": "a" * 300}, {"content_id"}),
        ({"text": "a", "name": "malicious_test.sh\r\n.txt"}, {"name"}),
        ({"text": "a", "name": "a\0.txt"}, {"name"}),
        ({"text": "a", "name": ""}, {"name"}),
        ({"text": "a", "name": "."}, {"name"}),
        ({"text": "a", "name": "a/.."}, {"name"}),
        ({"text": "a", "name": "\u202e"}, {"name"}),
        ({"text": "a", "name": "caf\udce9.pdf"}, {"name"}),
        ({"text": "a", "name": "a" * 1_000_000}, {"name"}),
        ({"text": "a", "name": 5}, {"name"}),
        ({"text": "a", "name": Path("a.txt")}, {"name"}),
        ({"text": "Subject: a\n\nb", "content_type": "message/rfc822", "encoding": "base64"}, {"encoding"}),
        ({"text": "Subject: a\n\nb", "content_type": "message/rfc822", "encoding": "quoted-printable"}, {"encoding"}),
        ({"text": "Subject: a\n\né", "content_type": "message/rfc822", "encoding": "7bit"}, {"encoding"}),
        ({"text": "Subject: a\n\nb", "content_type": "message/rfc822", "charset": "utf-8"}, {"charset"}),
        ({"text": "no header here", "content_type": "message/rfc822"}, {"content_type"}),
        ({"text": "\ufeffSubject: a\n\nb", "content_type": "message/rfc822"}, {"content_type"}),
        ({"text": "Subject: a\n\n" + "b" * 999, "content_type": "message/rfc822"}, {"content_type"}),
        ({"text": "Subject: a\n\n\0", "content_type": "message/rfc822"}, {"content_type"}),
        (
            {
                "text": "é",
                "content_type": "nonsense",
                "charset": "utf-7",
                "encoding": "uuencode",
                "headers": {"X A": "b"},
                "parameters": {"a b": "c"},
                "disposition": "nowhere",
                "name": "/",
                "content_id": " ",
                "description": "\n",
            },
            {
                *["content_type", "charset", "encoding", "headers['X A']", "parameters['a b']", "disposition", "name"],
                *["content_id", "description"],
            },
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_with_every_field_named(arguments: dict[str, Any], fields: set[str]) -> None:
    assert set(refused(**arguments)) == fields


@pytest.mark.parametrize(
    "arguments",
    [
        {"content_type": "text/plain\r\nBcc: x@y", "encoding": "7bit"},
        {"content_type": "Text/Plain", "encoding": "7bit"},
        {"content_type": None, "encoding": "7bit"},
        {"content_type": "text/plain"},
        {"content_type": "text/plain", "content": b"\xff", "encoding": "7bit"},
        {"content_type": "text/plain", "content": b"a\n.\n", "encoding": "8bit"},
        {"content_type": "text/plain", "encoding": "7bit", "charset": "utf-7"},
        {"content_type": "text/plain", "encoding": "7bit", "charset": "utf-8", "parameters": (("charset", "x"),)},
        {"content_type": "text/plain", "encoding": "7bit", "name": "../../etc/passwd"},
        {"content_type": "text/plain", "encoding": "7bit", "name": "inv\u202efdp.exe"},
        {"content_type": "text/plain", "encoding": "7bit", "subparts": (make_mime_part("a"),)},
        {"content_type": "message/rfc822", "encoding": "base64"},
        {"content_type": "image/png", "encoding": "base64", "content": Stored("../x", 1)},
        {"content_type": "image/png", "encoding": "base64", "content": Stored("A" * 64, 1)},
        {"content_type": "image/png", "encoding": "base64", "content": Stored("a" * 64, -1)},
        {"content_type": "multipart/mixed"},
        {"content_type": "multipart/mixed", "content": b"a", "subparts": (make_mime_part("a"),)},
    ],
)
def test_the_rules_hold_for_parts_made_without_make_mime_part(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidLetter):
        Part(**arguments)


def test_a_hostile_part_cannot_be_made_from_a_good_one() -> None:
    with pytest.raises(InvalidLetter):
        dataclasses.replace(make_mime_part("a"), content=b"\xff")


def test_trees_are_nested_down_to_a_hundred_levels_and_no_deeper() -> None:
    part = make_mime_part("deep")
    for _ in range(DEEPEST - 1):
        part = make_mime_part(subparts=[part])
    innermost = list(read(part).walk())[-1]
    assert octets_of(innermost) == b"deep"
    with pytest.raises(InvalidLetter, match="levels"):
        make_mime_part(subparts=[part])


def test_a_tree_that_holds_itself_is_refused() -> None:
    part = make_mime_part(subparts=[make_mime_part("a")])
    object.__setattr__(part, "subparts", (part,))
    with pytest.raises(InvalidLetter, match="levels"):
        make_mime_part(subparts=[part])
    object.__setattr__(part, "subparts", (part, part))
    with pytest.raises(InvalidLetter, match=r"levels|more than"):
        make_mime_part(subparts=[part])


def test_trees_have_a_thousand_parts_and_no_more() -> None:
    leaf = make_mime_part("a")
    part = make_mime_part(subparts=[leaf] * (MOST_PARTS - 1))
    assert len(list(read(part).walk())) == MOST_PARTS
    with pytest.raises(InvalidLetter, match="more than 1000"):
        make_mime_part(subparts=[leaf] * MOST_PARTS)
    with pytest.raises(InvalidLetter, match="more than 1000"):
        make_mime_part(subparts=[part, leaf])
    with pytest.raises(InvalidLetter, match="more than 1000"):
        make_mime_part(subparts=[leaf] * 100_000)


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": "x" * 1_000_000},
        {"text": "é" * 1_000_000},
        {"text": "\u2028" * 1_000_000},
        {"text": "\r" * 1_000_000},
        {"text": "\0" * 1_000_000},
        {"text": "." * 1_000_000, "encoding": "quoted-printable"},
        {"text": "\ud800" * 1_000_000},
        {"text": "a", "name": "/" * 1_000_000},
        {"text": "a", "name": "\u202e" * 1_000_000},
        {"text": "a", "description": "x" * 1_000_000},
        {"text": "a", "content_id": "<" * 1_000_000},
        {"text": "a", "charset": "x" * 1_000_000},
        {"text": "a", "parameters": {"a": "é" * 1_000_000}},
        {"text": "a", "parameters": {"a" * 1_000_000: "b"}},
        {"text": "a", "headers": {"X": "é" * 1_000_000}},
        {"text": "a", "headers": {"X" * 1_000_000: "b"}},
        {"text": b":" * 1_000_000, "content_type": "message/rfc822"},
        {"text": b"a " * 500_000, "content_type": "message/rfc822"},
    ],
)
def test_a_million_characters_are_taken_or_refused_in_time(arguments: dict[str, Any]) -> None:
    started = time.process_time()
    with contextlib.suppress(InvalidLetter):
        make_mime_part(**arguments).as_bytes()
    assert time.process_time() - started < 2


# File names


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ('a".exe', 'a".exe'),
        ("a.pdf\\", "a.pdf"),
        ('x.pdf"; name="evil.exe', 'x.pdf"; name="evil.exe'),
        ("n" * 300 + ".pdf", "n" * 300 + ".pdf"),
        ("ñ" * 300 + ".pdf", "ñ" * 300 + ".pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x", "x"),
        ("\\\\server\\share\\report.xlsx", "report.xlsx"),
        ("a/b\\c.txt", "c.txt"),
        ("inv\u202efdp.exe", "invfdp.exe"),
        ("\u2066a\u2069.txt", "a.txt"),
        ("日本語.pdf", "日本語.pdf"),
        ("تقرير.pdf", "تقرير.pdf"),
        ("👩‍👩‍👧‍👦.png", "👩‍👩‍👧‍👦.png"),
        ("e\u0301.txt", "e\u0301.txt"),
        ("a b  c.txt", "a b  c.txt"),
        ("a;b=c'd%e*f.txt", "a;b=c'd%e*f.txt"),
        ("100%25.txt", "100%25.txt"),
        ("utf-8''x.txt", "utf-8''x.txt"),
        ("=?utf-8?q?a?=.txt", "=?utf-8?q?a?=.txt"),
        ("a\u2028b.txt", "a\u2028b.txt"),
        ("-rf", "-rf"),
        ("...a", "...a"),
    ],
)
def test_file_names_of_any_kind_arrive_in_both_places(given_name: str, kept: str) -> None:
    part = make_mime_part(b"a", name=given_name)
    assert part.name == kept
    again = Part.from_bytes(part.as_bytes())
    assert again.name == kept
    message = read(part)
    assert message["content-disposition"].params["filename"] == kept
    assert message["content-type"].params["name"] == kept


def test_a_file_name_on_disk_that_is_not_utf_8_needs_another(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.pdf"
    Path(os.fsdecode(path)).write_bytes(b"a")
    assert set(refused(file=os.fsdecode(path))) == {"file"}
    assert make_mime_part(file=os.fsdecode(path), name="café.pdf").name == "café.pdf"


# Files (the reading itself: test_reading)


@pytest.mark.parametrize(
    "path",
    [
        *["missing.txt", "", "a\0b", "http://example.org/a.pdf", "https://example.org/", "file:///etc/passwd"],
        *["phar://a.phar", "data:text/plain,a", "a" * 100_000],
    ],
)
def test_what_names_no_file_is_refused_and_nothing_is_fetched(path: str) -> None:
    assert set(refused(file=path)) <= {"file"}


# Attachments and inline parts


def test_attachments_are_paths_pairs_streams_or_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"octets")
    with path.open("rb") as stream:
        made = [make_attachment(item, "attachments") for item in (str(path), path, ("a.txt", b"octets"), stream)]
    assert all(part == made[0] for part in made)
    assert (made[0].name, made[0].disposition, made[0].content) == ("a.txt", "attachment", b"octets")
    part = make_mime_part("as it is")
    assert make_attachment(part, "attachments") is part


def test_inline_parts_have_a_content_id(tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(b"\x89PNG")
    for item in (path, ("logo.png", b"\x89PNG"), make_mime_part(b"\x89PNG", name="logo.png", attachment=True)):
        part = make_inline("logo", item, "inline['logo']")
        assert (part.content_id, part.disposition, part.name) == ("logo", "inline", "logo.png")
        assert part.content_type == "image/png"
        assert b"Content-ID: <logo>\r\n" in part.as_bytes()


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ("missing.txt", "attachments[3]"),
        (b"octets", "attachments[3]"),
        (None, "attachments[3]"),
        (5, "attachments[3]"),
        ([], "attachments[3]"),
        (("a.txt",), "attachments[3]"),
        (("a.txt", "text"), "attachments[3]"),
        ((b"a.txt", b"octets"), "attachments[3]"),
        (("a.txt", b"a", b"b"), "attachments[3]"),
        (("a\r\n.txt", b"octets"), "attachments[3].name"),
    ],
)
def test_what_cannot_be_attached_is_refused_by_the_name_of_its_place(item: Any, field: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        make_attachment(item, "attachments[3]")
    assert [problem.field for problem in caught.value.problems] == [field]


@pytest.mark.parametrize("item", [("a.png", b"a"), make_mime_part(b"a")])
def test_an_inline_part_needs_a_good_content_id(item: Any) -> None:
    with pytest.raises(InvalidLetter) as caught:
        make_inline("a\r\nBcc: x@y", item, "inline['x']")
    assert [problem.field for problem in caught.value.problems] == ["inline['x'].content_id"]


def test_a_limit_on_the_octets_of_a_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert make_attachment(path, "a", max_octets=5).content == b"12345"
    for item in (path, io.BytesIO(b"12345")):
        with pytest.raises(InvalidLetter, match="4 are allowed"):
            make_attachment(item, "a", max_octets=4)


# Whatever hypothesis thinks of

SCRIPTS = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(list("\r\n\n\n \t.=-\"\\;'%é日🙂\u202e\u0301\u2028\x85\x1c\x0b\x0c\ufeff\0"))
)
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(list(" ./\\\"';%*()=?éß日🙂\u202e\u0301")),
    min_size=1,
    max_size=80,
).filter(
    lambda name: (
        name.replace("\\", "/")
        .rstrip("/")
        .rpartition("/")[2]
        .strip(". \u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    )
)
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)

BODIES = st.builds(
    make_mime_part,
    SCRIPTS,
    content_type=st.sampled_from(["text/plain", "text/html", "text/calendar", "text/x-odd.type+xml"]),
    encoding=st.sampled_from([None, "quoted-printable", "base64"]),
    description=st.none() | LINES,
    content_id=st.sampled_from([None, "logo", "a@b.c"]),
)
FILES = st.builds(
    make_mime_part,
    st.binary(max_size=300) | SCRIPTS.map(str.encode),
    name=st.none() | NAMES,
    content_type=st.sampled_from([None, "text/plain", "application/pdf", "image/png"]),
    attachment=st.just(True),
)
TREES = st.recursive(
    BODIES | FILES,
    lambda below: st.builds(
        make_mime_part,
        subparts=st.lists(below, min_size=1, max_size=4),
        content_type=st.sampled_from(["multipart/mixed", "multipart/alternative", "multipart/related"]),
        description=st.none() | LINES,
    ),
    max_leaves=8,
)


@given(TREES)
def test_a_reader_gets_what_was_put_in(tree: Part) -> None:
    raw = tree.as_bytes("seed")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|[\0\x80-\xff]", raw) is None
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert [entity.get_content_type() for entity in message.walk()] == [part.content_type for part in tree.walk()]
    for entity, part in zip(message.walk(), tree.walk(), strict=True):
        if part.is_multipart:
            continue
        octets = octets_of(entity)
        if part is tree and part.encoding == "7bit" and isinstance(part.content, bytes):
            octets = octets.removesuffix(b"\r\n") if not part.content.endswith(b"\r\n") else octets
        assert octets == part.content
        assert entity.get_content_charset() == part.charset
        assert entity.get_content_disposition() == part.disposition
        if part.name is not None:
            assert entity["content-disposition"].params["filename"] == part.name
            assert entity["content-type"].params["name"] == part.name


@given(TREES)
def test_what_is_written_is_read_back_as_the_same_parts(tree: Part) -> None:
    # In a multipart, so that a text without a line end at its end needs none.
    whole = make_mime_part(subparts=[tree])
    assert Part.from_bytes(whole.as_bytes("seed")) == whole


@given(SCRIPTS)
def test_text_is_what_was_given_but_for_line_ends(text: str) -> None:
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert make_mime_part(text).text == expected


@given(NAMES)
def test_a_name_arrives_and_is_never_a_path(name: str) -> None:
    part = make_mime_part(b"a", name=name)
    assert part.name is not None
    assert re.search(r"[/\\\u202a-\u202e\u2066-\u2069]", part.name) is None
    assert name.rstrip("/\\").endswith(part.name[-1]) or re.search("[\u202a-\u202e\u2066-\u2069]", name)
    assert Part.from_bytes(part.as_bytes()).name == part.name
    assert read(part)["content-disposition"].params["filename"] == part.name


@given(text=SCRIPTS | st.text(st.characters()), kind=st.sampled_from(["text/plain", "text/html"]))
def test_the_short_way_to_a_text_makes_the_same_part(text: str, kind: str) -> None:
    def made(make: Callable[[], Part]) -> object:
        try:
            return make()
        except InvalidLetter as refused:
            return refused.problems

    assert made(lambda: text_part(text, kind)) == made(lambda: make_mime_part(text=text, content_type=kind))
