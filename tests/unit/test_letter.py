"""A letter: what each keyword becomes, the shapes, the header fields, the envelope, its JSON, and that it is fixed."""

from __future__ import annotations

import email
import email.policy
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from email.header import Header
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import letters
from letters import BORN_MS, INVITATION, PDF, PICTURE, SETTINGS, as_arrived, letter
from postroom import InvalidLetter, Letter, Mailbox, NewerSchema, Part, Settings, letter_json, make_mime_part
from postroom.kept_letter import kept_letter
from postroom.mime import plain_text
from postroom.mime.stored import Stored

TESTS = Path(__file__).parents[1]


def read(made: Letter) -> EmailMessage:
    return email.message_from_bytes(made.as_bytes(), policy=email.policy.default)


def shape(made: Letter) -> Any:
    """The content types, a multipart as its type and those of its parts."""

    def of(part: Message) -> Any:
        kind = part.get_content_type()
        if part.get_content_maintype() != "multipart":
            return kind
        payload: Any = part.get_payload()
        return kind, *map(of, payload)

    return of(read(made))


def leaves(made: Letter) -> dict[str, EmailMessage]:
    found: dict[str, EmailMessage] = {}
    for part in read(made).walk():
        assert isinstance(part, EmailMessage)
        found.setdefault(part.get_content_type(), part)
    return found


def text_of(part: EmailMessage) -> str:
    text = part.get_content()
    assert isinstance(text, str)
    return as_arrived(text)


def field_names(made: Letter) -> list[str]:
    return [name.lower() for name in read(made).keys()]  # noqa: SIM118  (repeats count)


def problems(*arguments: Any, **keywords: Any) -> dict[str, str]:
    """The fields that are refused, and what is wrong with each."""
    with pytest.raises(InvalidLetter) as caught:
        letter(*arguments, **keywords)
    return {problem.field: problem.problem for problem in caught.value.problems}


# --- shapes ----------------------------------------------------------------------------------------------------------


def test_a_string_is_enough() -> None:
    made = letter("ann@example.com", "hi!! this is my first programmatic email!")
    message = read(made)
    assert (message["from"], message["to"]) == ("Bob <bob@example.org>", "ann@example.com")
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"
    assert message["content-transfer-encoding"] == "7bit"
    assert message["mime-version"] == "1.0"
    assert text_of(message) == "hi!! this is my first programmatic email!\n"
    assert "content-disposition" not in message


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, "text/plain"),
        ({"html": "<p>"}, ("multipart/alternative", "text/plain", "text/html")),
        ({"message": None, "html": "<p>hi"}, ("multipart/alternative", "text/plain", "text/html")),
        ({"message": None, "html": "<p>hi", "text_from_html": False}, "text/html"),
        ({"message": None, "html": "<p>"}, "text/html"),
        (
            {"html": "<p>", "inline": {"a": ("a.png", PICTURE)}},
            ("multipart/alternative", "text/plain", ("multipart/related", "text/html", "image/png")),
        ),
        (
            {"message": None, "html": "<p>", "text_from_html": False, "inline": {"a": ("a.png", PICTURE)}},
            ("multipart/related", "text/html", "image/png"),
        ),
        ({"attachments": [("a.pdf", PDF)]}, ("multipart/mixed", "text/plain", "application/pdf")),
        (
            {"html": "<p>", "attachments": [("a.pdf", PDF), ("b.csv", b"a,b")]},
            ("multipart/mixed", ("multipart/alternative", "text/plain", "text/html"), "application/pdf", "text/csv"),
        ),
        (
            {"html": "<p>", "inline": {"a": ("a.png", PICTURE)}, "attachments": [("a.pdf", PDF)]},
            (
                "multipart/mixed",
                ("multipart/alternative", "text/plain", ("multipart/related", "text/html", "image/png")),
                "application/pdf",
            ),
        ),
        (
            {"calendar": INVITATION},
            ("multipart/mixed", ("multipart/alternative", "text/plain", "text/calendar"), "application/ics"),
        ),
        ({"message": None, "calendar": INVITATION}, ("multipart/mixed", "text/calendar", "application/ics")),
        ({"message": None, "attachments": [("a.pdf", PDF)]}, ("multipart/mixed", "application/pdf")),
        ({"message": make_mime_part("x", content_type="text/html")}, "text/html"),
        (
            {"message": make_mime_part(subparts=[make_mime_part("a"), make_mime_part("b")])},
            ("multipart/mixed", "text/plain", "text/plain"),
        ),
    ],
    ids=str,
)
def test_the_shape_follows_from_what_is_given(keywords: dict[str, Any], expected: Any) -> None:
    assert shape(letter(**{"message": "hi!", **keywords})) == expected


def test_attachments_are_added_to_a_hand_built_mixed_part_in_order() -> None:
    body = make_mime_part(subparts=[make_mime_part("a")])
    made = letter(message=body, attachments=[("1.pdf", PDF), ("2.png", PICTURE), ("3.pdf", PDF)])
    assert shape(made) == ("multipart/mixed", "text/plain", "application/pdf", "image/png", "application/pdf")
    assert [part.get_filename() for part in read(made).iter_attachments()] == ["1.pdf", "2.png", "3.pdf"]


@pytest.mark.parametrize("subtype", ["alternative", "related", "report", "signed"])
def test_attachments_to_a_hand_built_part_of_another_kind_wrap_it(subtype: str) -> None:
    body = make_mime_part(
        subparts=[make_mime_part("a"), make_mime_part("<p>", content_type="text/html")],
        content_type=f"multipart/{subtype}",
    )
    made = letter(message=body, attachments=[("a.pdf", PDF)])
    assert shape(made) == ("multipart/mixed", (f"multipart/{subtype}", "text/plain", "text/html"), "application/pdf")


def test_a_hand_built_part_stays_as_it_was_and_serves_twice() -> None:
    body = make_mime_part(subparts=[make_mime_part("a")], headers={"Subject": "mine"})
    before = replace(body)
    shapes = [shape(letter(message=body, attachments=[("a.pdf", PDF)])) for _ in range(2)]
    assert body == before
    assert shapes == [("multipart/mixed", "text/plain", "application/pdf")] * 2


def test_a_hand_built_parts_own_fields_win_over_generated_ones() -> None:
    body = make_mime_part(
        "hi",
        headers=[
            ("From", "The Desk <desk@example.net>"),
            ("To", "Everybody <all@example.net>"),
            ("Subject", "mine"),
            ("Date", "Mon, 23 Nov 2026 20:59:00 +0000"),
            ("Message-ID", "<mine@example.net>"),
            ("X-Note", "kept"),
        ],
        description="the body",
    )
    made = letter("ann@example.com", body, subject="generated")
    message = read(made)
    assert {name: str(message[name]) for name in ("from", "to", "subject", "message-id", "x-note")} == {
        "from": "The Desk <desk@example.net>",
        "to": "Everybody <all@example.net>",
        "subject": "mine",
        "message-id": "<mine@example.net>",
        "x-note": "kept",
    }
    assert len(set(field_names(made))) == len(field_names(made))
    assert message["content-description"] == "the body"
    assert made.message_id == "<mine@example.net>"
    # The envelope still follows from the keywords.
    assert made.envelope.recipients == ("ann@example.com",)
    assert made.envelope.reverse_path == "bob@example.org"


@pytest.mark.parametrize("keyword", ["html", "calendar"])
def test_the_own_fields_of_any_hand_built_body_stand_once(keyword: str) -> None:
    content = {"html": "<p>", "calendar": INVITATION}[keyword]
    kind = {"html": "text/html", "calendar": "text/calendar"}[keyword]
    part = make_mime_part(content, content_type=kind, headers={"Subject": "mine", "Content-Language": "de"})
    made = letter(message=None, subject="generated", **{keyword: part})
    assert read(made)["subject"] == "mine"
    assert field_names(made).count("subject") == 1
    assert leaves(made)[kind]["content-language"] == "de"


def test_a_message_may_be_an_open_file_and_is_a_body_not_an_attachment(tmp_path: Path) -> None:
    path = tmp_path / "body.txt"
    path.write_bytes("Grüße\r\naus Köln\n".encode())
    for mode in ("rb", "r"):
        with path.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            message = read(letter(message=file))
        assert message.get_content_type() == "text/plain"
        assert text_of(message) == "Grüße\naus Köln\n"
        assert message["content-disposition"] is None
    assert text_of(read(letter(message=io.BytesIO(b"hi")))) == "hi\n"


def test_a_message_is_read_from_where_the_file_stands_and_the_file_stays_open() -> None:
    file = io.BytesIO(b"skipped, kept")
    file.seek(len(b"skipped, "))
    assert text_of(read(letter(message=file))) == "kept\n"
    assert not file.closed


def test_attachments_are_paths_pairs_files_or_parts_one_or_many(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(PDF)
    part = make_mime_part(PDF, name="a.pdf", attachment=True, content_type="application/pdf")
    with path.open("rb") as file:
        given = [str(path), path, ("a.pdf", PDF), ("a.pdf", bytearray(PDF)), ("a.pdf", memoryview(PDF)), file, part]
        for each in given:
            if hasattr(each, "seek"):
                each.seek(0)
            for attachments in (each, [each], iter([each])):
                if hasattr(each, "seek"):
                    each.seek(0)
                assert letter(attachments=attachments).attachments == (part,)


def test_an_attached_file_is_read_when_the_letter_is_made_and_never_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"as it was")
    made = letter(attachments=[path])
    path.unlink()
    first = made.as_bytes()
    assert made.as_bytes() == first
    assert made.attachments[0].content == b"as it was"


def test_inline_parts_carry_their_content_id_and_related_names_its_root() -> None:
    made = letter(html='<img src="cid:logo">', inline={"logo": ("logo.png", PICTURE), "b": make_mime_part(b"x")})
    assert [(part.content_id, part.disposition) for part in made.inline] == [("logo", "inline"), ("b", "inline")]
    related = leaves(made)["multipart/related"]
    assert related.get_param("type") == "text/html"


def test_an_invitation_is_shown_and_attached_with_its_method() -> None:
    parts = leaves(letter(calendar=INVITATION.encode()))
    assert parts["text/calendar"].get_param("method") == "REQUEST"
    assert parts["text/calendar"].get_content_disposition() is None
    assert parts["application/ics"].get_filename() == "invite.ics"
    octets = parts["application/ics"].get_payload(decode=True)
    assert octets == INVITATION.encode()


def test_a_calendar_without_a_method_names_none() -> None:
    calendar = "BEGIN:VCALENDAR\nEND:VCALENDAR\n"
    assert leaves(letter(calendar=calendar))["text/calendar"].get_param("method") is None


# --- the text of the html --------------------------------------------------------------------------------------------


def test_a_readable_text_is_made_of_html_alone() -> None:
    html = (
        "<!DOCTYPE html><html><head><style>p{color:red}</style><title>x</title></head><body><!-- hidden -->"
        '<h1>Hello &amp; welcome</h1><p>1 < 2, see <a href="https://example.org/?a=1&amp;b=2">here</a>.</p>'
        "<ul><li>one</li><li>two</li></ul><script>if (a < b) {}</script></body></html>"
    )
    made = letter(message=None, html=html)
    assert made.message is not None
    text = made.message.text
    for piece in ("Hello & welcome", "1 < 2, see", "[here](https://example.org/?a=1&b=2)", "* one", "* two"):
        assert piece in text
    assert not any(piece in text for piece in ("color", "hidden", "if (", "<p>"))


@pytest.mark.parametrize("html", ["", " \n ", "<img src='/etc/passwd'>", "<!-- only -->", "<style>p{}</style>"])
def test_html_with_nothing_to_read_goes_without_a_text(html: str) -> None:
    assert letter(message=None, html=html).message is None


def test_a_text_is_made_of_the_html_inside_a_hand_built_body() -> None:
    related = make_mime_part(
        subparts=[make_mime_part("<p>hello", content_type="text/html"), make_mime_part(PICTURE, content_id="a")],
        content_type="multipart/related",
    )
    made = letter(message=None, html=related)
    assert made.message is not None
    assert made.message.text == "hello\n"
    assert letter(message=None, html=make_mime_part(b"%PDF", content_type="application/pdf")).message is None


def test_a_text_given_is_never_replaced() -> None:
    assert text_of(leaves(letter(message="mine", html="<p>theirs"))["text/plain"]).rstrip() == "mine"


def test_too_much_html_goes_without_a_text() -> None:
    assert plain_text.from_html("x" * plain_text.HTML_MAX) is not None
    assert plain_text.from_html("x" * (plain_text.HTML_MAX + 1)) is None
    assert plain_text.from_html("<ul>" * 1000) is None
    assert plain_text.from_html("<b>" * 100_000) is None


# --- header fields ---------------------------------------------------------------------------------------------------


def test_the_fields_stand_in_the_order_of_the_origin_then_those_of_the_caller() -> None:
    made = letter(
        cc="c@example.com", reply_to="r@example.com", subject="s", headers=[("X-B", "1"), ("X-A", "2"), ("X-B", "3")]
    )
    assert field_names(made)[:11] == [
        "from", "to", "cc", "reply-to", "subject", "date", "message-id", "x-b", "x-a", "x-b", "mime-version",
    ]  # fmt: skip
    assert read(made).get_all("x-b") == ["1", "3"]


def test_date_and_message_id_are_fixed_when_the_letter_is_made() -> None:
    made = letter(id="a-letter", date_ms=BORN_MS)
    message = read(made)
    assert str(message["date"]) == "Mon, 24 Nov 2025 16:00:00 +0000"
    assert message["message-id"] == "<a-letter@example.org>"
    assert made.as_bytes() == made.as_bytes()


def test_a_letter_without_a_date_is_dated_now_and_one_for_later_when_it_is_sent() -> None:
    before = datetime.now(UTC)
    now = read(letter())["date"].datetime
    assert before - timedelta(seconds=1) <= now <= datetime.now(UTC)
    later = datetime(2090, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone(timedelta(hours=2)))
    made = letter(send_at=later)
    assert made.send_at_ms == 3_787_002_245_678
    assert str(read(made)["date"]) == "Mon, 02 Jan 2090 01:04:05 +0000"


@pytest.mark.parametrize(
    ("value", "date_ms"),
    [
        ("Mon, 23 Nov 2026 20:59:00 +0100", 1_795_463_940_000),
        ("23 Nov 2026 20:59:00 +0000", 1_795_467_540_000),
        ("Mon, 23 Nov 2026 20:59:00 -0000", 1_795_467_540_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_a_date_given_wins_and_is_what_the_letter_is_dated_by(value: str, date_ms: int) -> None:
    made = letter(headers={"Date": value}, date_ms=BORN_MS)
    assert made.date_ms == date_ms
    assert email.message_from_bytes(made.as_bytes()).get_all("date") == [value]


@pytest.mark.parametrize(
    "value",
    ["tomorrow", "1 Jan 1969 00:00:00 +0000", "1 Jan 0001 00:00:00 +0000", "1 Jan 26 00:00:00 +0000",
     "31 Dec 9999 00:00:00 +0000", "1 Jan 10000 00:00:00 +0000", "1 Jan 2026 00:00:60 +0000",
     "1 Jan 2026 24:00:00 +0000", "30 Feb 2026 00:00:00 +0000", "1 Jan 2026 00:00:00 +2400"],
)  # fmt: skip
def test_a_date_is_exact_or_refused(value: str) -> None:
    assert list(problems(headers={"Date": value})) == ["headers['Date']"]


def test_a_given_message_id_wins() -> None:
    made = letter(headers={"Message-Id": "<mine@example.com>"})
    assert made.message_id == "<mine@example.com>"
    assert field_names(made).count("message-id") == 1


@pytest.mark.parametrize("name", ["From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID"])
def test_a_single_field_stands_once_whoever_writes_it(name: str) -> None:
    given_values = {"Subject": "given", "Date": "Mon, 23 Nov 2026 20:59:00 +0000", "Message-ID": "<g@example.com>"}
    value = given_values.get(name, "g@example.com")
    made = letter(cc="c@example.com", reply_to="r@example.com", subject="generated", headers={name: value})
    assert [str(field) for field in read(made).get_all(name, [])] == [value]
    assert problems(headers=[(name, value), (name.upper(), value)]).keys() == {f"headers[{name.upper()!r}]"}


def test_a_field_given_by_keyword_and_by_part_is_given_twice() -> None:
    part = make_mime_part("x", headers={"Subject": "a"})
    assert list(problems(message=part, headers={"Subject": "b"})) == ["headers['Subject']"]


def test_bcc_is_in_the_envelope_and_in_no_field() -> None:
    made = letter(bcc=["secret@example.com", "Hidden <hidden@example.com>"])
    assert b"secret" not in made.as_bytes()
    assert b"idden" not in made.as_bytes()
    assert made.envelope.recipients == ("ann@example.com", "secret@example.com", "hidden@example.com")
    for name in ("Bcc", "bcc", "Resent-Bcc"):
        assert problems(headers={name: "secret@example.com"})
        with pytest.raises(InvalidLetter):
            make_mime_part("x", headers={name: "secret@example.com"})


def test_a_letter_to_hidden_recipients_only_says_so() -> None:
    made = letter((), bcc="secret@example.com")
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in made.as_bytes()
    assert made.envelope.recipients == ("secret@example.com",)
    assert "to" not in field_names(letter((), cc="c@example.com"))


def test_list_unsubscribe_is_one_keyword_and_at_one_click() -> None:
    url = "https://example.org/unsubscribe?token=" + "t" * 200
    made = letter(list_unsubscribe=[url, "mailto:unsubscribe@example.org?subject=x"])
    octets = made.as_bytes()
    assert b"List-Unsubscribe: <" in octets or b"List-Unsubscribe:\r\n <" in octets
    assert url.encode() in octets
    message = email.message_from_bytes(octets)
    assert message["list-unsubscribe"].split() == [f"<{url}>,", "<mailto:unsubscribe@example.org?subject=x>"]
    assert message["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"


def test_an_address_alone_does_not_unsubscribe_at_one_click() -> None:
    assert "list-unsubscribe-post" not in field_names(letter(list_unsubscribe="mailto:u@example.org"))


def test_a_url_beyond_ascii_is_percent_encoded() -> None:
    made = letter(list_unsubscribe="https://example.org/ü?x=a%20b")
    assert made.headers[0] == ("List-Unsubscribe", "<https://example.org/%C3%BC?x=a%20b>")


def test_fields_of_automatic_and_answering_letters_are_written_whole() -> None:
    references = " ".join(f"<{number:040}@mail.example.com>" for number in range(30))
    given_fields = {
        "In-Reply-To": "<1@example.com>",
        "References": references,
        "Auto-Submitted": "auto-generated",
        "Precedence": "bulk",
        "Importance": "high",
        "X-Priority": "1",
    }
    made = letter(headers=given_fields)
    message = email.message_from_bytes(made.as_bytes())
    for name, value in given_fields.items():
        assert " ".join(message[name].split()) == value
    assert b"=?" not in made.as_bytes()


@pytest.mark.parametrize(
    "name",
    ["MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Length", "Content-Disposition", "Content-ID",
     "Bcc", "Resent-Bcc", "Return-Path", "Received", "DKIM-Signature"],
)  # fmt: skip
def test_fields_that_are_not_the_callers_are_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        letter(headers={name: "x"})
    (problem,) = caught.value.problems
    assert problem.field == f"headers[{name!r}]"
    assert problem.remedy


def test_headers_together_have_a_limit_recipients_included() -> None:
    assert problems(headers=[(f"X-{number}", "v" * 100) for number in range(700)]).keys() == {"headers"}
    named = [(f"Name {number} " + "n" * 60, f"user{number}@example.com") for number in range(999)]
    assert problems(named).keys() == {"headers"}
    assert letter([f"user{number}@example.com" for number in range(999)])


# --- the envelope ----------------------------------------------------------------------------------------------------


def test_the_reverse_path_is_the_authors_or_the_one_given_or_null() -> None:
    assert letter(from_="Ann <ann@EXAMPLE.com>").envelope.reverse_path == "ann@example.com"
    assert letter(envelope_from="bounces+1@example.org").envelope.reverse_path == "bounces+1@example.org"
    for null in ("", "<>"):
        assert letter(envelope_from=null).envelope.reverse_path == ""


def test_a_mailbox_named_twice_is_one_recipient() -> None:
    made = letter(
        ["Ann <ann@example.com>", "ann@EXAMPLE.COM", "ANN@example.com"], cc="ann@example.com", bcc="ann@Example.com"
    )
    # The part before the @ may differ by case (RFC 5321 §2.4).
    assert made.envelope.recipients == ("ann@example.com", "ANN@example.com")
    assert len(read(made)["to"].addresses) == 3


def test_recipients_keep_their_order_to_cc_bcc_and_groups_are_opened() -> None:
    made = letter("Team: b@example.com, A <a@example.com>;", cc=["d@example.com", "c@example.com"], bcc="e@example.com")
    assert made.envelope.recipients == tuple(f"{each}@example.com" for each in "badce")


def test_reports_are_asked_for_in_the_envelope() -> None:
    asked = letter(notify=["failure", "delay", "failure"], ret="headers", envid="invoice 117").envelope
    assert (asked.notify, asked.ret, asked.envid) == (("failure", "delay"), "headers", "invoice 117")
    assert letter(notify="never").envelope.notify == ("never",)
    assert letter(notify=[]).envelope.notify == ()
    plain = letter().envelope
    assert (plain.notify, plain.ret, plain.envid) == ((), "", "")
    assert letter(envid=" " + "~" * 99).envid == " " + "~" * 99


def test_a_domain_is_the_same_in_header_and_envelope() -> None:
    made = letter("ann@Faß.example")
    assert made.envelope.recipients == ("ann@xn--fa-hia.example",)
    assert b"To: ann@xn--fa-hia.example\r\n" in made.as_bytes()


def test_the_from_of_the_settings_serves_letters_that_name_none() -> None:
    assert letter().from_ == Mailbox("bob@example.org", "Bob")
    assert problems(settings=Settings()).keys() == {"from_"}


# --- when and how ----------------------------------------------------------------------------------------------------


def test_what_is_not_said_is_plain() -> None:
    made = letter()
    assert (made.send_at_ms, made.expires_in_ms, made.priority, made.tags) == (None, 0, "normal", ())
    assert (made.idempotency_key, made.on_uncertain, made.relay, made.envelope_from) == (None, "resend", None, None)
    assert (made.notify, made.ret, made.envid) == ((), None, None)


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), 1_767_225_600_000),
        (datetime(2026, 1, 1, 0, 0, 0, 1999, tzinfo=UTC), 1_767_225_600_001),
        (datetime(2026, 1, 1, 3, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=3))), 1_767_225_600_123),
        (1_767_225_600_123, 1_767_225_600_123),
        (0, 0),
    ],
)
def test_a_moment_is_exact_to_the_millisecond(moment: datetime | int, ms: int) -> None:
    assert letter(send_at=moment).send_at_ms == ms


@pytest.mark.parametrize(
    ("span", "ms"), [(1, 1000), (0.5, 500), (timedelta(minutes=10), 600_000), (1e-9, 1), (None, 0)]
)
def test_a_span_is_seconds_or_a_timedelta(span: Any, ms: int) -> None:
    assert letter(expires_in=span).expires_in_ms == ms


def test_tags_are_words_each_once() -> None:
    assert letter(tags=["welcome", "eu:de", "welcome"]).tags == ("welcome", "eu:de")
    assert letter(tags="welcome").tags == ("welcome",)


def test_the_same_idempotency_key_gives_the_same_id() -> None:
    one, two = letter(idempotency_key="order 4711"), letter(idempotency_key="order 4711")
    assert one.id == two.id != letter(idempotency_key="order 4712").id
    assert letter().id != letter().id


def test_a_letter_cannot_be_changed() -> None:
    with pytest.raises((FrozenInstanceError, AttributeError)):
        letter().subject = "other"  # type: ignore[misc]


# --- limits ----------------------------------------------------------------------------------------------------------


def test_size_count_and_recipients_have_limits() -> None:
    small = Settings(from_="bob@example.org", letter_max=1000, parts_max=10, recipients_max=3)
    assert problems(message="x" * 1001, settings=small).keys() == {"attachments"}
    assert problems(message=io.BytesIO(b"x" * 1001), settings=small).keys() == {"message"}
    assert problems(attachments=[("a", b"x" * 600)] * 2, settings=small).keys() == {"attachments"}
    assert problems(attachments=[("a", b"")] * 10, settings=small).keys() == {"attachments"}
    assert problems([f"{n}@example.com" for n in range(4)], settings=small).keys() == {"to"}
    assert letter([f"{n}@example.com" for n in range(3)], attachments=[("a", b"x" * 500)], settings=small)


def test_what_is_accepted_can_be_composed_however_many_parts_and_levels() -> None:
    deep = make_mime_part("x")
    for _ in range(99):
        deep = make_mime_part(subparts=[deep], content_type="multipart/alternative")
    assert letter(message=deep).as_bytes()
    assert problems(message=deep, attachments=[("a", b"")]).keys() == {"subparts"}
    everything = {"html": "<p>", "inline": {"a": ("a.png", PICTURE)}, "calendar": INVITATION}
    many = [("a", b"")] * 992
    assert letter(**everything, attachments=many).as_bytes()
    assert problems(**everything, attachments=[*many, ("a", b"")]).keys() == {"attachments"}


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(letters.corpus()))
def test_json_gives_the_same_letter_back(name: str) -> None:
    made = letters.corpus()[name]
    again = Letter.from_json(made.to_json(), SETTINGS)
    assert again == made
    assert again.as_bytes() == made.as_bytes()
    assert again.to_json() == made.to_json()


@given(letters.keywords)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_json_gives_any_letter_back(keywords: dict[str, Any]) -> None:
    made = letter(**keywords)
    assert Letter.from_json(made.to_json(), SETTINGS) == made
    assert Letter.from_json(made.to_json().decode(), SETTINGS) == made


def test_json_gives_every_keyword_back() -> None:
    made = letter(
        [("Ann", "ann@example.com"), "Team: b@example.com;"],
        "Grüße",
        from_="bob@example.org",
        subject="s",
        html="<p>",
        cc="c@example.com",
        bcc="d@example.com",
        reply_to="r@example.com",
        headers={"X-A": "1"},
        attachments=[("a.bin", bytes(range(256)))],
        inline={"logo": ("logo.png", PICTURE)},
        list_unsubscribe="https://example.org/u",
        envelope_from="<>",
        notify=["failure", "success"],
        ret="headers",
        envid="invoice 117+~",
        relay="second",
        send_at=datetime(2090, 1, 1, tzinfo=UTC),
        expires_in=90,
        priority="bulk",
        idempotency_key="k",
        on_uncertain="hold",
        tags=["a", "b"],
    )
    assert Letter.from_json(made.to_json(), SETTINGS) == made
    assert json.loads(made.to_json())["envelope_from"] == ""


def test_of_a_key_that_is_there_twice_the_last_one_counts() -> None:
    text = '{"schema": 1, "to": "ann@example.com", "message": "hi", "to": "ben@example.com"}'
    assert Letter.from_json(text, SETTINGS).envelope.recipients == ("ben@example.com",)


def test_large_contents_stay_outside_and_come_back() -> None:
    big = PDF * 100
    made = letter(attachments=[("big.bin", big), ("small.txt", b"s")])
    text, contents, _ = letter_json.write(made, 1000)
    assert contents == {hashlib.sha256(big).hexdigest(): big}
    again = Letter.from_json(text, SETTINGS)
    assert again.attachments[0].content == Stored(hashlib.sha256(big).hexdigest(), len(big))
    with pytest.raises(ValueError, match="in the ledger, which is not at hand"):
        again.as_bytes()
    assert b"".join(again.octets(lambda stored: contents[stored.sha256])) == made.as_bytes()


@pytest.mark.parametrize("contents_over", [0, 1000, 64 * 1024, 10**9])
def test_a_letter_has_one_digest_whatever_its_id_and_date_and_wherever_its_contents_are(contents_over: int) -> None:
    def digest(octets: bytes, **keywords: Any) -> str:
        made = letter(attachments=[("a.bin", octets)], **keywords)
        return letter_json.write(made, contents_over).digest

    for octets in (PDF, PDF * 1000):
        assert digest(octets, id="a", date_ms=1) == digest(bytes(octets), id="b", date_ms=2)
        assert digest(octets) == letter_json.write(letter(attachments=[("a.bin", octets)]), 64 * 1024).digest
        assert digest(octets) != digest(octets + b" ")


BASE: dict[str, Any] = {"schema": 1, "from": "bob@example.org", "to": "ann@example.com", "message": "hi"}


def refused(text: Any) -> dict[str, str]:
    with pytest.raises(InvalidLetter) as caught:
        Letter.from_json(json.dumps(text) if isinstance(text, dict) else text, SETTINGS)
    return {problem.field: problem.problem for problem in caught.value.problems}


def test_another_program_needs_few_words() -> None:
    made = Letter.from_json(
        json.dumps(BASE | {"html": "<p>é", "list_unsubscribe": ["https://example.org/u"]}), SETTINGS
    )
    assert shape(made) == ("multipart/alternative", "text/plain", "text/html")
    assert "list-unsubscribe-post" in field_names(made)


def test_another_program_may_leave_encodings_to_us() -> None:
    attachments = [
        {"type": "application/pdf", "name": "a.pdf", "disposition": "attachment", "base64": "JVBERi0xLjcK"},
        {"type": "text/csv", "name": "ü.csv", "disposition": "attachment", "text": "a;ü\n"},
    ]
    made = Letter.from_json(json.dumps(BASE | {"attachments": attachments}), SETTINGS)
    pdf, csv = made.attachments
    assert (pdf.content, pdf.encoding) == (b"%PDF-1.7\n", "base64")
    assert (csv.content, csv.charset) == ("a;ü\n".encode(), "utf-8")


@pytest.mark.parametrize(
    "text",
    [None, 5, "", "null", "[]", "{}", b"\xff", "\ud800", "[" * 100_000, '{"schema":' + "[" * 100_000, '{"schema":true}',
     '{"schema":1.0}', '{"schema":1e999}', '{"schema":NaN}', '{"schema":1,"date_ms":' + "9" * 5000 + "}",
     '{"schema":1,"subject":"\\ud800"}', '\ufeff{"schema":1}', b'\xef\xbb\xbf{"schema":1}', '{"schema":1}x'],
    ids=lambda text: repr(text)[:30],
)  # fmt: skip
def test_what_is_no_json_of_a_letter_is_refused(text: Any) -> None:
    assert refused(text).keys() == {"letter"}


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"__class__": "x"},
        {"to": 5},
        {"to": [["ann@example.com"]]},
        {"subject": 5},
        {"text_from_html": 1},
        {"headers": {"X": "y"}},
        {"headers": [["X"]]},
        {"expires_in_ms": 1.5},
        {"expires_in_ms": True},
        {"tags": "a"},
        {"attachments": [{"type": "a/b", "unknown": 1}]},
        {"attachments": [{"text": "no type"}]},
        {"attachments": [{"type": "a/b", "base64": "*"}]},
        {"attachments": [{"type": "a/b", "stored": ["x"]}]},
        {"message": ["x"]},
    ],
    ids=str,
)
def test_unknown_keys_and_wrong_types_are_refused(change: dict[str, Any]) -> None:
    assert refused(BASE | change).keys() == {"letter"}


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"message": {"type": "text/plain", "text": "x", "base64": "eA=="}}, {"message.text"}),
        ({"attachments": [{"type": "a/b", "base64": "", "stored": ["a" * 64, 1]}]}, {"attachments[0].text"}),
        ({"attachments": [{"type": "a/b", "stored": ["x", 1], "encoding": "base64"}]}, {"attachments[0].stored"}),
        ({"attachments": [{"type": "a/b", "stored": ["a" * 64, -1], "encoding": "base64"}]}, {"attachments[0].stored"}),
        ({"html": "x", "inline": [{"type": "a/b", "base64": ""}]}, {"inline[0].content_id"}),
        ({"html": "x", "inline": [{"type": "a/b", "base64": "", "content_id": "a"}] * 2}, {"inline[1].content_id"}),
        ({"message": None, "ready": {"type": "a/b", "base64": "AAA="}}, {"ready"}),
        (
            {"message": None, "ready": {"type": "message/rfc822", "text": "Bcc: a@b.c\r\n\r\n", "encoding": "7bit"}},
            {"ready"},
        ),
        (
            {
                "from": "x",
                "to": "a\r\nb@c.d",
                "message": {"type": "te xt/plain", "text": ""},
                "calendar": {"type": "x"},
                "attachments": [{"type": "a/b", "name": "a\nb", "base64": ""}],
                "tags": ["a b"],
            },
            {"from_", "to", "message.content_type", "calendar.content_type", "attachments[0].name", "tags"},
        ),
    ],
)
def test_what_json_describes_is_checked_as_at_the_caller_and_every_problem_named(
    change: dict[str, Any], fields: set[str]
) -> None:
    assert refused(BASE | change).keys() == fields


@pytest.mark.parametrize("depth", [100, 200, 400, 900, 1100, 100_000])
def test_a_bomb_of_nested_parts_is_refused(depth: int) -> None:
    bomb = '{"type":"multipart/mixed","subparts":[' * depth + '{"type":"text/plain","text":"x"}' + "]}" * depth
    assert refused(json.dumps(BASE).replace('"hi"', bomb)).keys() <= {"message", "letter"}


def test_a_bomb_of_many_parts_is_refused() -> None:
    many = [{"type": "a/b", "base64": ""}] * 100_000
    assert set(refused(BASE | {"attachments": many})) >= {"attachments"}
    assert refused(BASE | {"message": {"type": "multipart/mixed", "subparts": many}}).keys() == {"message"}


@pytest.mark.parametrize("text", ['{"schema":3}', '{"schema":99,"letter":{"unknown":1}}'])
def test_a_letter_of_a_newer_schema_is_left_to_newer_workers(text: str) -> None:
    with pytest.raises(NewerSchema, match="newer than 2"):
        Letter.from_json(text)


def test_a_schema_that_never_was_is_refused() -> None:
    assert refused(BASE | {"schema": 0}).keys() == {"schema"}


# --- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "fields"),
    [
        ({"message": None}, {"message"}),
        ({"to": ()}, {"to"}),
        ({"inline": {"a": ("a.png", PICTURE)}}, {"inline"}),
        ({"message": make_mime_part("<p>", content_type="text/html"), "html": "<p>"}, {"message"}),
        ({"message": make_mime_part(subparts=[make_mime_part("x")]), "html": "<p>"}, {"message"}),
        ({"message": make_mime_part("<p>", content_type="text/html"), "calendar": INVITATION}, {"message"}),
        ({"calendar": make_mime_part("x")}, {"calendar"}),
        ({"calendar": "no calendar"}, {"calendar"}),
        ({"calendar": b"BEGIN:VCALENDAR\xff"}, {"calendar"}),
        ({"ready": make_mime_part("x")}, {"ready"}),
    ],
    ids=str,
)
def test_content_that_contradicts_itself_is_refused(keywords: dict[str, Any], fields: set[str]) -> None:
    assert problems(**{"to": "ann@example.com", "message": "hi", **keywords}).keys() == fields


# --- messages that come ready ----------------------------------------------------------------------------------------

EML = (
    b"From: Ann <ann@example.com>\nTo: b@example.com, Team: c@example.com;\nCc: d@example.com\n"
    b"Bcc: secret@example.com,\n hidden@example.com\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nbody\n.\r\nend\r"
)


def test_a_ready_message_is_sent_as_it_is_but_for_line_ends_and_bcc() -> None:
    made = Letter.from_bytes(EML, settings=SETTINGS)
    assert made.as_bytes() == (
        b"From: Ann <ann@example.com>\r\nTo: b@example.com, Team: c@example.com;\r\nCc: d@example.com\r\n"
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nbody\r\n.\r\nend\r\n"
    )
    assert made.envelope.recipients == tuple(f"{each}@example.com" for each in ("b", "c", "d", "secret", "hidden"))
    assert made.envelope.reverse_path == "ann@example.com"
    assert made.subject == "Grüße"
    assert Letter.from_json(made.to_json(), SETTINGS) == made


def test_the_envelope_of_a_ready_message_may_be_given() -> None:
    made = Letter.from_bytes(EML, to="x@example.com", envelope_from="<>", tags="eml", settings=SETTINGS)
    assert made.envelope.recipients == ("x@example.com",)
    assert made.envelope.reverse_path == ""
    assert made.tags == ("eml",)
    unreadable = b"From: MAILER (x\r\nTo: x@example.com\r\n\r\n"
    assert Letter.from_bytes(unreadable, from_="a@example.com", envelope_from="").from_.address == "a@example.com"


def python_messages() -> Iterator[Message]:
    modern = EmailMessage()
    modern["Subject"] = "Grüße " * 30
    modern.set_content("hé\n.\n")
    modern.add_attachment(PDF, maintype="application", subtype="pdf", filename="ü.pdf")
    yield modern
    single = EmailMessage()
    single["Subject"] = "Grüße " * 30
    single.set_content(PDF, maintype="application", subtype="pdf", filename="ü.pdf")
    yield single
    older = MIMEMultipart()
    older["Subject"] = Header("Grüße " * 30, "utf-8")  # type: ignore[assignment]
    older.attach(MIMEText("hé\n.\n", "plain", "utf-8"))
    yield older
    oldest = MIMEText("hé\n.\n", "plain", "iso-8859-1")
    oldest["Subject"] = "Grüße " * 30
    yield oldest


@pytest.mark.parametrize("number", range(4))
def test_a_message_of_pythons_is_taken_and_long_fields_stay_whole(number: int) -> None:
    message = list(python_messages())[number]
    unsubscribe = "<https://example.org/" + "u" * 150 + ">"
    references = " ".join(f"<{n}@mail.example.com>" for n in range(20))
    message["From"] = "Ann <ann@example.com>"
    message["To"] = "Bob <bob@example.org>"
    message["List-Unsubscribe"] = unsubscribe
    message["References"] = references
    made = Letter.from_bytes(message, settings=SETTINGS)
    again = email.message_from_bytes(made.as_bytes(), policy=email.policy.default)
    assert unsubscribe.encode() in made.as_bytes()
    assert " ".join(str(again["references"]).split()) == references
    assert str(again["subject"]).strip() == ("Grüße " * 30).strip()
    for ours, theirs in zip(again.walk(), message.walk(), strict=True):
        if not ours.is_multipart():
            octets = ours.get_payload(decode=True), theirs.get_payload(decode=True)
            assert octets[0].split() == octets[1].split()  # type: ignore[union-attr]
            assert ours.get_filename() == theirs.get_filename()


def test_a_message_of_django_which_writes_itself_in_its_own_way_is_taken() -> None:
    class SafeText(MIMEText):
        def as_bytes(self, *_: object, **__: object) -> bytes:
            raise AssertionError("Django's own knows no policy")

    message = SafeText("hé", "plain", "utf-8")
    message["From"] = "ann@example.com"
    assert Letter.from_bytes(message, to="bob@example.org", settings=SETTINGS).as_bytes().startswith(b"Content-Type:")


def compat32(**fields: str) -> Message:
    message = Message()
    for name, value in {"From": "a@example.com", "To": "b@example.com", **fields}.items():
        message[name] = value
    message.set_payload("hi")
    return message


def cyclic() -> Message:
    message = compat32(**{"Content-Type": "multipart/mixed"})
    message.set_payload([message])
    return message


def with_payload(payload: Any) -> Message:
    message = compat32()
    message.set_payload(payload)
    return message


HEAD = b"From: a@example.com\r\nTo: b@example.com\r\n"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (None, "raw"),
        ("From: a@b.c\r\n\r\n", "raw"),
        (b"", "raw"),
        (b"\r\n\r\nno header", "raw"),
        (b"no header", "raw"),
        (HEAD + b"no field\r\n\r\n", "raw"),
        (b"\xef\xbb\xbf" + HEAD + b"\r\n", "raw"),
        (HEAD + b"\r\nnul \0", "raw"),
        (HEAD + b"\r\n" + b"x" * 999, "raw"),
        (HEAD + b"X: " + b"x" * 996 + b"\r\n\r\n", "raw"),
        (b"X: y\r\n" * 50_000 + b"\r\n", "raw"),
        (b"From: a@example.com\r\nTo: undisclosed-recipients:;\r\n\r\n", "to"),
        (b"From: a@example.com\r\nTo: nobody\r\n\r\n", "to[0]"),
        (b"From: nobody\r\nTo: b@example.com\r\n\r\n", "from[0]"),
        (b"To: b@example.com\r\n\r\n", "from_"),
        (compat32(Subject="x\r\nBcc: evil@example.com"), "headers['Subject']"),
        (compat32(Subject="x\nBcc: evil@example.com"), "headers['Subject']"),
        (compat32(Subject="x\n"), "headers['Subject']"),
        (compat32(**{"X\r\nBcc": "evil@example.com"}), "headers['X\\r\\nBcc']"),
        (cyclic(), "raw"),
        (with_payload("\ud800"), "raw"),
        (with_payload(5), "raw"),
        (with_payload([5]), "raw"),
        (EmailMessage(), "raw"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0][:40],
)
def test_what_is_no_message_is_refused(raw: Any, field: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        Letter.from_bytes(raw, settings=Settings())
    assert [problem.field for problem in caught.value.problems] == [field]


def test_an_encoded_line_end_in_a_ready_subject_is_data() -> None:
    raw = HEAD + b"Subject: =?utf-8?q?a=0D=0ABcc:=20evil@example.com?=\r\n\r\n"
    made = Letter.from_bytes(raw, settings=SETTINGS)
    assert made.as_bytes() == raw
    assert made.subject == "a  Bcc: evil@example.com"
    assert made.envelope.recipients == ("b@example.com",)


@pytest.mark.parametrize(
    "keywords",
    [{"message": "x"}, {"html": "x"}, {"attachments": [("a", b"")]}, {"headers": {"X": "y"}}, {"reply_to": "a@b.c"},
     {"list_unsubscribe": "https://example.org"}],
    ids=str,
)  # fmt: skip
def test_nothing_is_added_to_a_ready_message(keywords: dict[str, Any]) -> None:
    with pytest.raises(InvalidLetter):
        Letter.from_bytes(EML, settings=SETTINGS, **keywords)


@pytest.mark.parametrize(
    "octets", [b"bare\rreturn: x\r\n\r\n", b"no field\r\n\r\n", b"A: b\r\n\r\n\n.\n", b"Bcc: a@b.c\r\n\r\n"]
)
def test_a_ready_message_out_of_the_ledgers_contents_is_checked_again(octets: bytes) -> None:
    stored = Part("message/rfc822", Stored("a" * 64, 10), encoding="7bit")
    made = letter(message=None, ready=stored)
    with pytest.raises(InvalidLetter):
        made.octets(lambda _: octets)


# --- the same in any process -----------------------------------------------------------------------------------------

_COMPOSE = """
import hashlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
from postroom import Letter
for line in sys.stdin.buffer.read().splitlines():
    octets = Letter.from_json(line).as_bytes()
    print(hashlib.sha256(octets).hexdigest())
"""


def composed_elsewhere(python: str, environment: dict[str, str], paths: list[str]) -> list[str]:
    done = subprocess.run(
        [python, "-c", _COMPOSE, json.dumps(paths)],
        input=b"\n".join(made.to_json() for made in letters.corpus().values()),
        env={"PATH": os.environ["PATH"], "POSTROOM_FROM": "bob@example.org", **environment},
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split()


def composed_here() -> list[str]:
    return [hashlib.sha256(made.as_bytes()).hexdigest() for made in letters.corpus().values()]


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Pacific/Kiritimati", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "1", "PYTHONUTF8": "0"},
        {"TZ": "America/St_Johns", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "4711", "PYTHONOPTIMIZE": "2"},
    ],
    ids=["far east", "far west"],
)
def test_the_same_letter_is_the_same_octets_in_any_process(environment: dict[str, str]) -> None:
    assert composed_elsewhere(sys.executable, environment, [path for path in sys.path if path]) == composed_here()


def other_pythons() -> list[Path]:
    """Pythons of another minor that may be on this machine."""
    wanted = [f"3.{minor}" for minor in range(11, 16) if minor != sys.version_info.minor]
    return [
        python
        for folder in (Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/*/bin"))
        for minor in wanted
        if (python := folder / f"python{minor}").exists()
    ]


def test_another_python_composes_the_same_octets() -> None:
    sources = [str(TESTS.parent / folder) for folder in ("producer", "worker")]
    reasons = []
    for python in other_pythons():
        tried = subprocess.run(
            [str(python), "-c", "import celery, email_validator, html2text, idna, msgspec, redis, rich"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if tried.returncode == 0:
            assert composed_elsewhere(str(python), {"TZ": "Asia/Tokyo"}, sources) == composed_here()
            return
        reasons.append(f"{python}: {tried.stderr.strip().splitlines()[-1]}")
    pytest.skip("no other Python has the dependencies: " + ("; ".join(reasons) or "there is none"))


# --- addresses with an IP address for a domain ------------------------------------------------------------------------


def test_an_address_in_brackets_is_allowed_by_setting_alone() -> None:
    with pytest.raises(InvalidLetter, match="IP address"):
        letter("ann@[192.0.2.1]")
    made = letter(
        "ann@[192.0.2.1]", envelope_from="bob@[IPv6:2001:db8::1]", settings=replace(SETTINGS, domain_literals=True)
    )
    assert made.envelope.recipients == ("ann@[192.0.2.1]",)
    assert b"To: ann@[192.0.2.1]\r\n" in made.as_bytes()
    written = letter(from_="bob@[192.0.2.7]", settings=replace(SETTINGS, domain_literals=True))
    assert written.message_id.endswith("@[192.0.2.7]>")


def test_what_was_accepted_under_wider_limits_is_read_under_narrower_ones() -> None:
    made = letter(["ann@[192.0.2.1]", "ben@example.com"], settings=replace(SETTINGS, domain_literals=True))
    narrow = replace(SETTINGS, recipients_max=1)
    with pytest.raises(InvalidLetter):
        Letter.from_json(made.to_json(), narrow)
    assert kept_letter(made.to_json()) == made
