"""Reading messages of others into parts: what is sound, and what is not."""

from __future__ import annotations

import contextlib
import email
import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidLetter
from postroom.mime.part import Part, make_mime_part
from postroom.mime.part_rules import DEEPEST, MOST_PARTS

parse = Part.from_bytes


def multipart(*pieces: bytes, boundary: bytes = b"b", subtype: bytes = b"mixed") -> bytes:
    head = b'Content-Type: multipart/%b; boundary="%b"\r\n\r\n' % (subtype, boundary)
    return head + b"".join(b"--%b\r\n%b\r\n" % (boundary, piece) for piece in pieces) + b"--%b--\r\n" % boundary


def test_a_message_of_the_standard_library_is_read_whole() -> None:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = "Grüße"
    message["From"] = Address("Jürgen, der Große", addr_spec="juergen@example.org")
    message.set_content("Grüße\n")
    message.add_alternative("<p>Grüße</p>\n", subtype="html")
    message.add_attachment(b"%PDF\0\xff", maintype="application", subtype="pdf", filename="größe.pdf")
    message.add_attachment(b"a\nb", maintype="text", subtype="csv", filename="a.csv")
    part = parse(message.as_bytes())
    assert [each.content_type for each in part.walk()] == [
        *["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf", "text/csv"]
    ]
    _, _, text, html, pdf, csv = part.walk()
    assert (text.text, html.text) == ("Grüße\n", "<p>Grüße</p>\n")
    assert (pdf.content, pdf.name, pdf.disposition) == (b"%PDF\0\xff", "größe.pdf", "attachment")
    assert (csv.content, csv.name) == (b"a\nb", "a.csv")
    assert part.header("subject") == "Grüße"
    assert part.header("FROM") == '"Jürgen, der Große" <juergen@example.org>'


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r"])
def test_lines_end_in_any_way(line_end: bytes) -> None:
    raw = multipart(b"\r\none", b"Content-Type: text/html\r\n\r\n<p>\r\n").replace(b"\r\n", line_end)
    part = parse(raw)
    assert [each.content for each in part.subparts] == [b"one", b"<p>\r\n"]


@pytest.mark.parametrize(
    ("raw", "content_type", "text"),
    [
        (b"", "text/plain", ""),
        (b"\r\n", "text/plain", ""),
        (b"\r\nbody", "text/plain", "body"),
        (b"no header at all", "text/plain", "no header at all"),
        (b"Subject: a", "text/plain", ""),
        (b"Subject: a\r\n\r\nbody", "text/plain", "body"),
        (b"From me@x Mon Jan 1\r\nSubject: a\r\n\r\nbody", "text/plain", "body"),
        (b"Content-Type: nonsense\r\n\r\nbody", "text/plain", "body"),
        (b"Content-Type: text/\r\n\r\nbody", "application/octet-stream", "body"),
        (b"Content-Type: te(xt/plain\r\n\r\nbody", "application/octet-stream", "body"),
        (b"Content-Type: multipart/mixed\r\n\r\nbody", "text/plain", "body"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\nbody", "text/plain", "body"),
        (b"Content-Type: TEXT/HTML; CHARSET=Latin1\r\n\r\n\xe9", "text/html", "é"),
        (b"Content-Type: text/plain; charset=x-unknown\r\n\r\nbody", "text/plain", "body"),
        (b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AGE-", "text/plain", "+AGE-"),
        (b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff", "text/plain", "\ufffd"),
        (b"Content-Transfer-Encoding: BASE64 \r\n\r\nYm9k\r\neQ", "text/plain", "body"),
        (b"Content-Transfer-Encoding: base64\r\n\r\n!!!", "text/plain", ""),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\nb=6Fdy=\r\n", "text/plain", "body"),
        (b"Content-Transfer-Encoding: x-unknown\r\n\r\nbody", "text/plain", "body"),
        (b"Content-Transfer-Encoding: 7bit\r\n\r\n\xc3\xa9", "text/plain", "é"),
        (b"\r\n" + b"x" * 2000, "text/plain", "x" * 2000),
        (b"\r\na\0b", "text/plain", "a\0b"),
    ],
)
def test_one_entity_is_read_as_well_as_can_be(raw: bytes, content_type: str, text: str) -> None:
    part = parse(raw)
    assert (part.content_type, part.text) == (content_type, text)
    assert parse(part.as_bytes()).text.removesuffix("\n") == text.removesuffix("\n")


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--", [b"one", b"two"]),
        (b"preamble\r\n--b\r\n\r\none\r\n--b--\r\nepilogue\r\n--b\r\n\r\nno", [b"one"]),
        (b"--b  \t\r\n\r\none\r\n--b-- \r\n", [b"one"]),
        (b"--b\r\n\r\none", [b"one"]),
        (b"--b\r\n\r\none\r\n--b", [b"one", b""]),
        (b"--b\r\n--b\r\n--b--", [b"", b""]),
        (b"--b\r\n\r\n--bb\r\n --b\r\na--b\r\n--b--", [b"--bb\r\n --b\r\na--b"]),
        (b"--b\r\n\r\none\r\n\r\n--b--", [b"one\r\n"]),
    ],
)
def test_delimiters_part_the_entities(body: bytes, contents: list[bytes]) -> None:
    part = parse(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body)
    assert [each.content for each in part.subparts] == contents


def test_what_is_in_a_digest_is_a_message_unless_it_says_otherwise() -> None:
    part = parse(multipart(b"\r\nSubject: a\r\n\r\nbody", b"Content-Type: text/plain\r\n\r\nb", subtype=b"digest"))
    assert [each.content_type for each in part.subparts] == ["message/rfc822", "text/plain"]


def test_a_message_within_is_kept_octet_for_octet() -> None:
    inner = b"X-Odd:   spaced\r\n\tfolded\r\nSubject: =?utf-8?q?a?=\r\n\r\n.\r\nFrom x\r\n"
    part = parse(b"Content-Type: message/rfc822\r\n\r\n" + inner)
    assert (part.content_type, part.content, part.encoding) == ("message/rfc822", inner, "7bit")
    part = parse(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogYQ==")
    assert (part.content_type, part.content, part.encoding) == ("message/rfc822", b"Subject: a", "7bit")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b"attachment; filename=a.pdf", "a.pdf"),
        (b'attachment; filename="a b.pdf"', "a b.pdf"),
        (b'attachment; filename="../../etc/passwd"', "passwd"),
        (b'attachment; filename="=?utf-8?q?gr=C3=B6=C3=9Fe?="', "größe"),
        (b"attachment; filename*=utf-8''gr%C3%B6%C3%9Fe", "größe"),
        (b"attachment; filename*0*=utf-8''gr%C3%B6; filename*1*=%C3%9Fe; filename=grosse", "größe"),
        (b"attachment; filename=grosse; filename*=utf-8''gr%C3%B6%C3%9Fe", "größe"),
        (b'attachment; filename*0="one"; filename*1="two"', "onetwo"),
        (b"attachment; filename*=utf-8''a%0D%0ABcc%3A%20x", "aBcc: x"),
        (b'attachment; filename="=?utf-8?q?a=0D=0Ab?="', "ab"),
        (b"attachment; filename*=utf-8''inv%E2%80%AEfdp.exe", "invfdp.exe"),
        (b"attachment; filename=", None),
        (b'attachment; filename=".."', None),
        (b"attachment", None),
    ],
)
def test_file_names_are_read_in_all_their_forms_and_made_harmless(field: bytes, name: str | None) -> None:
    part = parse(b"Content-Disposition: " + field + b"\r\n\r\na")
    assert (part.name, part.disposition) == (name, "attachment")


def test_the_name_may_stand_in_the_content_type_and_other_parameters_are_kept() -> None:
    part = parse(
        b'Content-Type: text/calendar; METHOD=REQUEST; name="a.ics"; charset=utf-8; a*b=c; x="1\r\n 2"\r\n\r\n'
    )
    assert part.name == "a.ics"
    assert part.charset == "utf-8"
    assert dict(part.parameters) == {"method": "REQUEST", "x": "1 2"}


@pytest.mark.parametrize(
    ("given_disposition", "disposition"),
    [(b"inline", "inline"), (b"INLINE", "inline"), (b"form-data", "attachment"), (b"", "attachment")],
)
def test_an_unknown_disposition_is_an_attachment(given_disposition: bytes, disposition: str) -> None:
    assert parse(b"Content-Disposition: " + given_disposition + b"\r\n\r\na").disposition == disposition


def test_fields_that_could_not_be_sent_again_are_left_out() -> None:
    part = parse(
        b"Return-Path: <a@b.de>\r\nReceived: from x\r\nBcc: secret@b.de\r\nSubject: one\r\nSubject: two\r\n"
        b"X-Empty:\r\nX-Raw: gr\xc3\xb6\xc3\x9fe\r\nX-Latin: gr\xf6\xdfe\r\n"
        b"X-Evil: =?utf-8?q?a=0D=0ABcc:=20e@x?=\r\nContent-ID: <a b>\r\nDKIM-Signature: v=1\r\n\r\na"
    )
    given_names = [name for name, _ in part.headers]
    assert "Bcc" not in given_names
    assert "Received" not in given_names
    assert part.header("subject") == "one"
    assert given_names.count("Subject") == 1
    assert part.header("x-raw") == "größe"
    assert part.header("x-evil") == "=?utf-8?q?a=0D=0ABcc:=20e@x?="
    assert part.content_id is None
    again = parse(part.as_bytes())
    assert again.header("x-evil") == part.header("x-evil")
    assert b"\nBcc" not in part.as_bytes()


def test_a_name_that_decodes_to_what_parts_addresses_stays_one_name() -> None:
    part = parse(b"From: =?utf-8?q?support=40bank=2Ecom=2C?= <evil@x.com>\r\n\r\na")
    assert part.header("from") == '"support@bank.com," <evil@x.com>'
    message = email.message_from_bytes(part.as_bytes(), policy=SMTP)
    assert [address.addr_spec for address in message["from"].addresses] == ["evil@x.com"]


# Limits


@pytest.mark.parametrize("levels", [DEEPEST + 1, 1000, 10_000])
def test_a_tree_too_deep_is_refused(levels: int) -> None:
    raw = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(levels))
    with pytest.raises(InvalidLetter, match="levels"):
        parse(raw + b"\r\ndeep")


def test_a_tree_of_a_hundred_levels_is_read() -> None:
    part = make_mime_part("deep")
    for _ in range(DEEPEST - 1):
        part = make_mime_part(subparts=[part])
    assert parse(part.as_bytes()) == part


def test_too_many_parts_are_refused() -> None:
    assert len(parse(multipart(*[b"\r\na"] * (MOST_PARTS - 1))).subparts) == MOST_PARTS - 1
    for number in (MOST_PARTS, 100_000):
        with pytest.raises(InvalidLetter, match="more than 1000 parts"):
            parse(multipart(*[b"\r\na"] * number))


def test_a_byte_order_mark_and_a_long_header_are_refused() -> None:
    with pytest.raises(InvalidLetter, match="byte order mark"):
        parse(b"\xef\xbb\xbfSubject: a\r\n\r\nb")
    with pytest.raises(InvalidLetter, match="octets"):
        parse(b"X: " + b"a" * 1_000_000 + b"\r\n\r\nb")


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: text/plain" + b";" * 100_000 + b"\r\n\r\na",
        b"Content-Type: text/plain" + b'; a="' * 20_000 + b"\r\n\r\na",
        b"Content-Type: text/plain" + b'; a="\\"' * 20_000 + b"\r\n\r\na",
        b"Content-Type: text/plain" + b"".join(b"; x*%d=a" % n for n in range(10_000)) + b"\r\n\r\na",
        b"Content-Disposition: attachment; filename=" + b'"' * 100_000 + b"\r\n\r\na",
        b"Subject: " + b"=?utf-8?q?a?= " * 10_000 + b"\r\n\r\na",
        b"Subject: " + b"=?" * 100_000 + b"\r\n\r\na",
        b"To: " + b"a@b.c," * 20_000 + b"\r\n\r\na",
        b"To: " + b"(" * 100_000 + b"\r\n\r\na",
        b"To: " + b'"' * 100_001 + b"\r\n\r\na",
        b"X: a\r\n" * 20_000 + b"\r\na",
        b" \r\n" * 50_000 + b"\r\na",
        b"A:" + b"\r\n " * 50_000 + b"a\r\n\r\na",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b " * 300_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n--b" + b" " * 1_000_000,
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * 1_000_000,
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * 1_000_000,
        b"\r" * 1_000_000,
    ],
)
def test_hostile_messages_are_read_or_refused_in_time(raw: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(InvalidLetter):
        parse(raw)
    assert time.process_time() - started < 3


LINES = st.sampled_from(
    [
        *[
            b"",
            b"--b",
            b"--b--",
            b"--c",
            b"--c--",
            b"text",
            b".",
            b"\xff\0",
            b"Subject: a",
            b"From: =?utf-8?q?=22?= <a@b.c>",
        ],
        *[b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: multipart/digest; boundary=c", b" folded"],
        *[b"Content-Type: message/rfc822", b"Content-Type: text/html; charset=iso-2022-jp", b"Content-Type: ;;=;"],
        *[b"Content-Type: text/plain; charset*=x'y'%ff; name*1=a; name*=''b", b"Content-Type: message/partial; id=a"],
        *[
            b"Content-Transfer-Encoding: base64",
            b"Content-Transfer-Encoding: 8bit",
            b"Content-Disposition: \xff; filename=\xff",
        ],
        *[
            b"Content-Disposition: attachment; filename*=utf-8''%00%ff",
            b"Content-ID: <x@y>",
            b"To: a@b.c, (d",
            b"Date: =?x?q?=0A?=",
        ],
        *[
            b"Content-Description: =?utf-8?b?gICA?=",
            b"Content-Description: \xff",
            b"MIME-Version: 1.0",
            b"X: \xe2\x80\xa8",
            b"Content-Language: \xff",
        ],
    ]
)


@pytest.mark.parametrize(("octets", "text"), [("Größe".encode(), "Größe"), (b"Gr\xf6\xdfe", "Gr\ufffd\ufffde")])
def test_a_description_beyond_ascii_that_is_not_encoded_is_read(octets: bytes, text: str) -> None:
    assert parse(b"Content-Description: " + octets + b"\n\nhi").description == text


@given(st.lists(LINES, max_size=25), st.sampled_from([b"\r\n", b"\n"]))
def test_whatever_comes_in_is_read_and_can_be_sent_again(lines: list[bytes], line_end: bytes) -> None:
    part = parse(line_end.join(lines))
    whole = make_mime_part(subparts=[part])
    assert parse(whole.as_bytes("seed")) == whole


@given(st.binary(max_size=500))
def test_any_octets_can_be_read(raw: bytes) -> None:
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    parse(raw)
