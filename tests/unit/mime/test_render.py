"""Rendering: fields, bodies and boundaries, judged by the standard library's parser."""

from __future__ import annotations

import email
import email.policy
import re
import subprocess
import sys
import time
import tracemalloc
from email.message import Message
from typing import Any

import pytest

from postroom.errors import InvalidLetter
from postroom.mime import render as rendering
from postroom.mime import transfer_encoding
from postroom.mime.part import Part, make_mime_part
from postroom.mime.render import joined, render
from postroom.mime.stored import Stored

BOUNDARY = re.compile(rb'boundary="([^"]+)"')


def written(part: Part, seed: str = "letter") -> bytes:
    return b"".join(render(part, seed))


def subparts_of(raw: bytes) -> list[Message]:
    message = email.message_from_bytes(raw)
    assert not message.defects
    payload: Any = message.get_payload()
    assert isinstance(payload, list)
    return payload


def octets_of(message: Message) -> bytes:
    octets = message.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


# The end of a text


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
@pytest.mark.parametrize(
    "text", ["", "a", "größe", "a ", "a=", "a\r\n", "a\r\n\r\n", "\r\n", "x" * 75, "x" * 76, "é" * 25]
)
def test_a_text_neither_gains_nor_loses_a_line_end(text: str, encoding: str) -> None:
    raw = written(make_mime_part(text, encoding=encoding))
    assert raw.endswith(b"\r\n")
    assert octets_of(email.message_from_bytes(raw)) == text.encode()
    assert max(map(len, raw.split(b"\r\n"))) <= 76


@pytest.mark.parametrize(
    ("text", "body"), [("a", b"a\r\n"), ("a\r\n", b"a\r\n"), ("a\r\n\r\n", b"a\r\n\r\n"), ("", b""), ("\n", b"\r\n")]
)
def test_the_last_line_of_a_bare_text_ends_with_the_message_s_own_crlf(text: str, body: bytes) -> None:
    assert written(make_mime_part(text)).partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("text", ["", "a", "a\r\n", "a\r\n\r\n", "\r\n", "größe", "größe\r\n"])
@pytest.mark.parametrize("encoding", [None, "quoted-printable", "base64"])
def test_within_a_multipart_every_text_is_exact(text: str, encoding: str | None) -> None:
    part = make_mime_part(text, encoding=encoding)
    raw = written(make_mime_part(subparts=[part, part]))
    assert [octets_of(each) for each in subparts_of(raw)] == [text.encode()] * 2


# Dots and bare line ends


@pytest.mark.parametrize(
    "body",
    [
        b"a\r\n\r\n.\r\nMAIL FROM:<x>\r\n",
        b".a",
        b"\n.\r\n",
        b"\n.\n",
        b"\r\n.\n",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\r\n\0.\r\n",
        b"\r\r\n.\r\r\n",
        "\n.\x85\u2028.\x1c.\n".encode(),
    ],
)
@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "text/html"])
def test_no_bare_line_end_leaves_in_any_part(body: bytes, content_type: str) -> None:
    for arguments in ({}, {"attachment": True}, {"encoding": "quoted-printable"}):
        part = make_mime_part(body, content_type=content_type, **arguments)
        raw = written(make_mime_part(subparts=[part]))
        assert re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw) is None
    if content_type == "application/octet-stream":
        assert octets_of(subparts_of(raw)[0]) == body


# Boundaries


def test_a_body_cannot_contain_its_own_boundary() -> None:
    harmless = written(make_mime_part(subparts=[make_mime_part("a")]))
    (boundary,) = BOUNDARY.findall(harmless)
    hostile = f"a\r\n--{boundary.decode()}\r\nContent-Type: text/html\r\n\r\nevil\r\n--{boundary.decode()}--\r\n"
    raw = written(make_mime_part(subparts=[make_mime_part(hostile)]))
    (only,) = subparts_of(raw)
    assert octets_of(only) == hostile.encode()
    assert BOUNDARY.findall(raw) != [boundary]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_letter_can_forward_itself(times: int) -> None:
    """Boundaries derive from the letter's id: the letter inside has the very same ones."""
    inner = make_mime_part(subparts=[make_mime_part("the first"), make_mime_part("second", content_type="text/html")])
    for _ in range(times):
        forwarded = make_mime_part(inner.as_bytes("letter"), content_type="message/rfc822")
        inner = make_mime_part(subparts=[make_mime_part("see below"), forwarded])
    raw = inner.as_bytes("letter")
    assert len(set(BOUNDARY.findall(raw))) == times + 1
    message: Any = email.message_from_bytes(raw)
    for _ in range(times):
        text, forwarded_message = message.get_payload()
        assert octets_of(text) == b"see below"
        (message,) = forwarded_message.get_payload()
    assert [octets_of(each) for each in message.get_payload()] == [b"the first", b"second"]


def test_no_boundary_begins_another_and_all_derive_from_the_seed() -> None:
    part = make_mime_part("a")
    for _ in range(12):
        part = make_mime_part(subparts=[part, part])
        if len(list(part.walk())) > 200:
            break
    boundaries = BOUNDARY.findall(written(part, "one"))
    assert len(boundaries) > 60
    assert len(set(boundaries)) == len(boundaries)
    assert {len(boundary) for boundary in boundaries} == {34}
    assert not set(boundaries) & set(BOUNDARY.findall(written(part, "another")))
    assert written(part, "one") == written(part, "one")


def test_a_stored_content_with_the_boundary_is_seen_too() -> None:
    (boundary,) = BOUNDARY.findall(written(make_mime_part(subparts=[make_mime_part("a")])))
    octets = b"--%b--\r\n" % boundary
    part = Part("text/plain", Stored("c" * 64, len(octets)), "utf-8", "7bit")
    raw = b"".join(render(make_mime_part(subparts=[part]), "letter", lambda _: octets))
    assert [octets_of(each) for each in subparts_of(raw)] == [octets]


def test_the_same_part_is_written_the_same_in_any_process() -> None:
    program = (
        "from postroom.mime.part import make_mime_part as m;"
        "import hashlib;"
        "leaves = [m('größe'), m(b'x' * 999, name='ü.pdf'), m(subparts=[m('a')])];"
        "p = m(subparts=leaves, headers={'X-B': '1', 'X-A': '2'});"
        "print(hashlib.sha256(p.as_bytes('seed')).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


# Fields


def test_a_multipart_has_the_8bit_of_what_is_in_it() -> None:
    part = make_mime_part(subparts=[make_mime_part("a"), make_mime_part("Subject: ä", content_type="message/rfc822")])
    whole = make_mime_part(subparts=[make_mime_part("b"), part])
    assert part.needs_8bit
    assert whole.needs_8bit
    raw = written(whole)
    assert raw.count(b"Content-Transfer-Encoding: 8bit\r\n") == 3
    assert not make_mime_part("ä").needs_8bit
    assert b"8bit" not in written(make_mime_part(subparts=[make_mime_part("ä")]))


def test_long_and_foreign_values_are_folded() -> None:
    part = make_mime_part(
        b"a",
        name="日本語" * 60 + ".pdf",
        description="ü" * 500,
        content_id="a" * 250,
        headers={"X-Long": "word " * 200 + "end"},
    )
    raw = written(part)
    head, _, _ = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert all(len(line) <= 78 or line.startswith((b"Content-ID", b" <aaa")) for line in lines)
    assert all(line.strip() for line in lines)
    assert Part.from_bytes(raw) == part


def test_no_mime_version_stands_in_a_part_but_one_at_the_top_of_a_message() -> None:
    part = make_mime_part(subparts=[make_mime_part("a")])
    assert b"MIME-Version" not in written(part)
    assert part.as_bytes().count(b"MIME-Version: 1.0\r\n") == 1
    assert part.as_bytes().startswith(b"MIME-Version: 1.0\r\n")


# Contents: kept elsewhere, and kept encoded


def test_stored_content_is_read_encoded_once_and_written() -> None:
    octets = b"\0stored" * 20_000
    calls = []

    def read(stored: Stored) -> bytes:
        calls.append(stored)
        return octets

    parts = [
        Part("application/pdf", Stored("a" * 64, len(octets)), encoding="base64", name=f"{n}.pdf") for n in range(3)
    ]
    for part in parts:
        assert octets_of(email.message_from_bytes(b"".join(render(part, "letter", read)))) == octets
    assert calls == [Stored("a" * 64, len(octets))]


def test_stored_content_needs_a_reader() -> None:
    with pytest.raises(ValueError, match="kept elsewhere"):
        Part("application/pdf", Stored("b" * 64, 1), encoding="base64").as_bytes()


@pytest.mark.parametrize("octets", [b"\xff", b"a\n.\n", b"\0", b"x" * 999])
def test_stored_content_that_does_not_fit_its_encoding_never_leaves(octets: bytes) -> None:
    part = Part("text/plain", Stored("d" * 64, len(octets)), encoding="7bit")
    with pytest.raises(InvalidLetter):
        render(part, "letter", lambda _: octets)


def test_stored_content_of_another_size_never_leaves() -> None:
    part = Part("application/pdf", Stored("e" * 64, 3), encoding="base64")
    with pytest.raises(InvalidLetter, match="3 octets"):
        render(part, "letter", lambda _: b"four")


def test_a_part_in_many_letters_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    part = make_mime_part("größe " * 100)
    attachment = make_mime_part(b"\0" * 1_000_000)
    first = written(make_mime_part(subparts=[part, attachment]))
    monkeypatch.delattr(transfer_encoding, "encode_in_pieces")
    assert written(make_mime_part(subparts=[part, attachment])) == first


def test_encoded_contents_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_KEPT_TOGETHER", 1000)
    kept = rendering._Kept()
    for number in range(10):
        kept.keep((str(number), "base64"), (b"x" * 300,))
        kept.get(("0", "base64"))
    assert kept.get(("0", "base64")) is not None
    assert kept.get(("9", "base64")) is not None
    assert kept.get(("7", "base64")) is None
    assert sum(len(body[0]) for body in kept._bodies.values()) <= 1000
    kept.keep(("10", "base64"), (b"x" * 2000,))
    assert not kept._bodies


# Speed and memory, with room for a busy machine (exact ratios: benchmarks/compose.py)


def test_25_megabytes_are_in_memory_once_and_encoded_once() -> None:
    octets = b"\xff" * 25_000_000
    part = make_mime_part(subparts=[make_mime_part("see the attachment"), make_mime_part(octets, name="a.bin")])
    tracemalloc.start()
    try:
        raw = joined(render(part, "letter"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * len(raw)


def test_a_small_text_is_written_in_microseconds() -> None:
    part = make_mime_part("hi!! this is my first mime-compliant programmatic email!")
    started = time.process_time()
    for _ in range(1000):
        render(part, "letter")
    assert time.process_time() - started < 0.05
