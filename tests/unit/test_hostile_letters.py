"""Hostile and awkward values, by the keyword they enter by: each is refused by the name of its field, and in time.

What is harmless is taken, and proves it: no field, part or recipient comes of it that the caller did not give.
"""

from __future__ import annotations

import email
import email.policy
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letters import INVITATION, PICTURE, SETTINGS, letter
from postroom import Group, InvalidLetter, Letter, Mailbox, NewerSchema, Part, Settings, make_mime_part
from postroom.kept_letter import kept_letter
from postroom.mime.stored import Stored

MILLION = 10**6
COMMAS = "," * 10**5
HUGE = 10**5000
"""An integer that Python does not print."""


@contextmanager
def in_time(seconds: float = 2) -> Iterator[None]:
    """Linear time takes a hundredth of it; what takes the square of the time takes hours."""
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


def briefly(value: object) -> str:
    return "huge" if value is HUGE else re.sub(" at 0x[0-9a-f]+", "", ascii(value))[:50]


def refused(make: Callable[[], object]) -> list[str]:
    """The fields that are refused, each with a short problem that can be printed, and a remedy."""
    with in_time(), pytest.raises(InvalidLetter) as caught:
        make()
    for problem in caught.value.problems:
        assert len(str(problem)) < 700
        assert str(problem).isprintable()
        assert problem.remedy
    return [problem.field for problem in caught.value.problems]


class Foreign:
    """A value of a type that nothing knows."""


def file_of(value: object) -> Any:
    """An open file that gives this value, whatever it is."""

    class File:
        def read(self, _size: int = -1) -> object:
            return value

    return File()


def part(**arguments: Any) -> Callable[[], Letter]:
    """A letter with a part built by hand of these arguments."""
    return lambda: letter(message=make_mime_part(**{"text": "x", **arguments}))


# --- what is refused -------------------------------------------------------------------------------------------------
# value → the field that the error names

ADDRESSES: list[tuple[Any, str]] = [
    # CR, LF and the like, folded or quoted: a second command, a second field.
    ("a@b.c\r\nRCPT TO:<x@evil.com>", "to"),
    ("a@b.c\n", "to"),
    ("\na@b.c", "to"),
    ('"a\r\nRCPT TO:<x@evil.com>\r\n"@b.c', "to"),
    ("a@b.c\r\n (comment)", "to"),
    ("Ann\r\nBcc: x@evil.com <a@b.c>", "to"),
    (("Ann\nBcc: x@evil.com", "a@b.c"), "to"),
    (("Ann", "a@b.c\0"), "to"),
    (Mailbox("a@b.c\r\nRCPT TO:<x@evil.com>"), "to"),
    (Mailbox("a@b.c", "x\r\ny"), "to"),
    (Group("x\r\ny", ()), "to"),
    (Group("x", (Mailbox("a\n@b.c"),)), "to.members[0]"),
    ("a@b.c\x85", "to"),
    ("a\ud800@b.c", "to"),
    (("caf\udce9", "a@b.c"), "to"),
    # An address within the address: whom does it go to?
    ('"xclow3n@gmail.com x"@internal.domain', "to"),
    ('"foo@psres.net> ORCPT=admin@admin.com"@test.com', "to"),
    ("<a@b.c> SIZE=1", "to"),
    ("a@b.c SIZE=1", "to"),
    ("@c.d,@e.f:a@b.c", "to"),
    ("user@good-corp.com(x)evil.com", "to"),
    ("user@x.com(a(b)c)", "to"),
    ("alice@example.org)bob@evil", "to"),
    ("a@b.c@d.e", "to"),
    ("a@x.com, b@y.com", "to"),
    ("a@x.com;b@y.com", "to"),
    ("a@x.com b@y.com", "to"),
    ("a@x.com <b@y.com> <c@z.com>", "to"),
    (["a@x.com", "b@y.com, c@z.com"], "to[1]"),
    # Characters that become others.
    ("user\uff20evil.com", "to"),
    ("a\u3002b@x.com", "to"),
    ("a@\uff47oogle.com", "to"),
    ("a@exa\xadmple.com", "to"),
    ("a@\ufb00.com", "to"),
    ("a@\u2100.com", "to"),
    ("a@a\u200db.com", "to"),
    ("a@\u202emoc.elpmaxe", "to"),
    # What the grammar does not have.
    ("", "to"),
    (" ", "to"),
    ("nobody", "to"),
    ("@", "to"),
    ("a@", "to"),
    ("@b.c", "to"),
    ("a..b@c.d", "to"),
    (".a@b.c", "to"),
    ("a.@b.c", "to"),
    ("a b@c.d", "to"),
    ("a@b..c", "to"),
    ("a@-b.c", "to"),
    ("a@b-.c", "to"),
    ("a@b_c.d", "to"),
    ("a@b.c.", "to"),
    ("a@localhost.", "to"),
    ("a@1.2.3.4", "to"),
    ("a@0x7f.1", "to"),
    ("a@2130706433", "to"),
    ("a@[127.0.0.1]", "to"),
    ("a@[IPv6:::1]", "to"),
    ("a@b.c:25", "to"),
    ("a@xn--", "to"),
    ('"a@b.c', "to"),
    ("a@b.c>", "to"),
    ("Name <a@b.c", "to"),
    ("g: h: a@b.c;;", "to"),
    # Too long, and made to be parsed for ever.
    ("a" * 65 + "@b.c", "to"),
    ("a@" + "b" * 64 + ".c", "to"),
    ("a@" + "b." * 127 + "c", "to"),
    ("a" * MILLION, "to"),
    ("a" * MILLION + "@b.c", "to"),
    ("a@" + "b" * MILLION, "to"),
    ("@" * 10_000, "to"),
    ("(" * 20_000, "to"),
    ("<" * 20_000, "to"),
    ('"' * 20_001, "to"),
    ("\\" * 20_000, "to"),
    ("g:" * 3000, "to"),
    ("a@b.c," * 100_000, "to"),
    (COMMAS, "to"),
    (COMMAS + ";", "to"),
    (" " * MILLION, "to"),
    ("a@" + "\u0660" * 10_000, "to"),
    ("a@xn--" + "a" * 20_000, "to"),
    ("a@" + "\u0301" * 10_000, "to"),
    (("n" * MILLION, "a@b.c"), "to"),
    # Of another type.
    (5, "to"),
    (None, "to"),
    (True, "to"),
    (b"a@b.c", "to"),
    ({"a@b.c": "x"}, "to"),
    ([5], "to[0]"),
    ([None], "to[0]"),
    ([["a@b.c"]], "to[0]"),
    ([("a", "b", "c@d.e")], "to[0]"),
    (("Name", "Other"), "to[0]"),
    (HUGE, "to"),
    (Foreign(), "to"),
]

KEYWORDS: list[tuple[str, Any, str]] = [
    # Fields of one line
    ("subject", "x\r\nBcc: evil@example.com", "subject"),
    ("subject", "A 💩 subject=?UTF-8?Q?=0A?=\nBcc: injected@example.com", "subject"),
    ("subject", "x\n", "subject"),
    ("subject", "x\r", "subject"),
    ("subject", "\r\n x", "subject"),
    ("subject", "x\0", "subject"),
    ("subject", "x\x1b]0;owned\x07", "subject"),
    ("subject", "a\ud800b", "subject"),
    ("subject", "x" * MILLION, "subject"),
    ("subject", "=?" * MILLION, "subject"),
    ("subject", "\n" * MILLION, "subject"),
    ("subject", b"x", "subject"),
    ("subject", 5, "subject"),
    ("subject", ["x"], "subject"),
    # From and the reverse-path
    ("from_", "", "from_"),
    ("from_", "a@b.c, d@e.f", "from_"),
    ("from_", ["a@b.c"], "from_"),
    ("from_", "Group: a@b.c;", "from_"),
    ("from_", ("x\r\ny", "a@b.c"), "from_"),
    ("from_", "=?utf-8?q?x?=\n <a@b.c>", "from_"),
    ("from_", 5, "from_"),
    ("envelope_from", "a@b.c\r\nRCPT TO:<x@evil.com>", "envelope_from"),
    ("envelope_from", "a@b.c> SIZE=1", "envelope_from"),
    ("envelope_from", "<a@b.c> BODY=8BITMIME", "envelope_from"),
    ("envelope_from", "user@host(tmp1 -be ${run{id}})", "envelope_from"),
    ("envelope_from", '"a\\" -oQ/tmp/ -X/tmp/x.php some"@x.com', "envelope_from"),
    ("envelope_from", "<", "envelope_from"),
    ("envelope_from", "MAILER-DAEMON", "envelope_from"),
    ("envelope_from", 5, "envelope_from"),
    ("cc", "a@b.c\n", "cc"),
    ("bcc", "a@b.c\n", "bcc"),
    ("reply_to", "a@b.c\n", "reply_to"),
    ("bcc", ["ok@example.com", "a@b.c\r\nDATA"], "bcc[1]"),
    # Header fields: names, values, counts
    ("headers", {"Subject ": "x"}, "headers[0]"),
    ("headers", {"X-A:": "x"}, "headers[0]"),
    ("headers", {"X\u00e9": "x"}, "headers[0]"),
    ("headers", {"From\u2028": "x"}, "headers[0]"),
    ("headers", {"x" * 998: "x"}, "headers[0]"),
    ("headers", {"x" * MILLION: "x"}, "headers[0]"),
    ("headers", {"": "x"}, "headers[0]"),
    ("headers", {"X\r\nBcc": "evil@example.com"}, "headers[0]"),
    ("headers", {"X: a\r\nBcc": "evil@example.com"}, "headers[0]"),
    ("headers", {"X": "a\r\nBcc: evil@example.com"}, "headers['X']"),
    ("headers", {"X": "a\n"}, "headers['X']"),
    ("headers", {"X": "a\r\n b"}, "headers['X']"),
    ("headers", {"X": "a\0"}, "headers['X']"),
    ("headers", {"X": "a\ud800"}, "headers['X']"),
    ("headers", {"X": "x" * MILLION}, "headers['X']"),
    ("headers", {"References": "x" * 999}, "headers['References']"),
    ("headers", {"References": "é"}, "headers['References']"),
    ("headers", {"Reply-To": "a@b.c\n"}, "headers['Reply-To'][0]"),
    ("headers", {"Sender": "nobody"}, "headers['Sender'][0]"),
    ("headers", {"To": "(" * 20_000}, "headers['To']"),
    ("headers", {"Date": "yesterday"}, "headers['Date']"),
    ("headers", {"Bcc": "evil@example.com"}, "headers['Bcc']"),
    ("headers", {"bCC": "evil@example.com"}, "headers['bCC']"),
    ("headers", {"Resent-Bcc": "evil@example.com"}, "headers['Resent-Bcc']"),
    ("headers", {"Return-Path": "<evil@example.com>"}, "headers['Return-Path']"),
    ("headers", {"DKIM-Signature": "v=1"}, "headers['DKIM-Signature']"),
    ("headers", {"MIME-Version": "2.0"}, "headers['MIME-Version']"),
    ("headers", {"Content-Type": "text/html"}, "headers['Content-Type']"),
    ("headers", {"Content-Transfer-Encoding": "base64"}, "headers['Content-Transfer-Encoding']"),
    ("headers", {"Content-Length": "1"}, "headers['Content-Length']"),
    ("headers", {"Content-Disposition": "attachment"}, "headers['Content-Disposition']"),
    ("headers", [("From", "x@y.z"), ("from", "z@y.z")], "headers['from']"),
    ("headers", [("Subject", "a"), ("SUBJECT", "b")], "headers['SUBJECT']"),
    ("headers", [("Message-ID", "<a@b>"), ("Message-ID", "<c@d>")], "headers['Message-ID']"),
    ("headers", [("X", "y")] * 100_000, "headers"),
    ("headers", [(f"X-{number}", "y" * 1000) for number in range(900)], "headers"),
    ("headers", "X: y", "headers"),
    ("headers", b"X: y", "headers"),
    ("headers", ["X: y"], "headers[0]"),
    ("headers", [("X",)], "headers[0]"),
    ("headers", {"X": 5}, "headers[0]"),
    ("headers", {5: "x"}, "headers[0]"),
    ("headers", {"X": None}, "headers[0]"),
    ("headers", 5, "headers"),
    ("headers", Foreign(), "headers"),
    # Unsubscribing
    ("list_unsubscribe", "javascript:alert(1)", "list_unsubscribe"),
    ("list_unsubscribe", "http://example.com/", "list_unsubscribe"),
    ("list_unsubscribe", "https://example.com/>, <https://evil.com", "list_unsubscribe"),
    ("list_unsubscribe", "https://example.com/ x", "list_unsubscribe"),
    ("list_unsubscribe", "https://example.com/\r\nBcc: evil@example.com", "list_unsubscribe"),
    ("list_unsubscribe", "https://example.com/\x7f", "list_unsubscribe"),
    ("list_unsubscribe", "https://example.com/\u2028x", "list_unsubscribe"),
    ("list_unsubscribe", "https://example.com/\ud800", "list_unsubscribe"),
    ("list_unsubscribe", "mailto:a@b.c\r\n", "list_unsubscribe"),
    ("list_unsubscribe", "https://" + "x" * MILLION, "list_unsubscribe"),
    ("list_unsubscribe", ["https://example.com/", "data:x"], "list_unsubscribe"),
    ("list_unsubscribe", ["https://example.com/"] * 100_000, "list_unsubscribe"),
    ("list_unsubscribe", 5, "list_unsubscribe"),
    ("headers", [("List-Id", "<a.b>"), ("List-ID", "<c.d>")], "headers['List-ID']"),
    ("list_unsubscribe", b"https://example.com/", "list_unsubscribe"),
    # Bodies
    ("message", "a\ud800b", "message"),
    ("message", b"octets", "message"),
    ("message", 5, "message"),
    ("message", Path("/etc/passwd"), "message"),
    ("message", ["a", "list"], "message"),
    ("message", "x" * (26 * 1024 * 1024), "attachments"),
    ("message", io.BytesIO(b"\xff"), "message"),
    ("message", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"), "message"),
    ("message", io.StringIO("\ud800"), "message"),
    ("message", file_of(None), "message"),
    ("message", file_of(10**12), "message"),
    ("message", file_of(b"x" * MILLION), "message"),
    ("html", "a\ud800b", "html"),
    ("html", b"<p>", "html"),
    ("html", 5, "html"),
    ("calendar", "no calendar", "calendar"),
    ("calendar", "BEGIN:VCALENDAR\ud800", "calendar"),
    ("calendar", b"BEGIN:VCALENDAR\xff", "calendar"),
    ("calendar", 5, "calendar"),
    ("calendar", make_mime_part(PICTURE, content_type="image/png"), "calendar"),
    ("text_from_html", "yes", "text_from_html"),
    ("text_from_html", 1, "text_from_html"),
    ("ready", make_mime_part("x"), "ready"),
    ("ready", b"From: a@b.c\r\n\r\n", "ready"),
    ("ready", Part("message/rfc822", b"X: y\r\nBcc: a@b.c\r\n\r\n", encoding="7bit"), "ready"),
    ("ready", Part("message/rfc822", b"no header", encoding="7bit"), "ready"),
    # Attachments
    ("attachments", "/no/such/file", "attachments[0]"),
    ("attachments", ["/no/such/file"], "attachments[0]"),
    ("attachments", "file.pdf", "attachments[0]"),
    ("attachments", "", "attachments[0]"),
    ("attachments", "/", "attachments[0]"),
    ("attachments", "/dev/zero", "attachments[0]"),
    ("attachments", "/dev/null", "attachments[0]"),
    ("attachments", "a\0b", "attachments[0]"),
    ("attachments", "\ud800", "attachments[0]"),
    ("attachments", "x" * MILLION, "attachments[0]"),
    ("attachments", "http://example.com/a.pdf", "attachments[0]"),
    ("attachments", "https://169.254.169.254/latest/meta-data", "attachments[0]"),
    ("attachments", "file:///etc/passwd", "attachments[0]"),
    ("attachments", "phar://x.phar", "attachments[0]"),
    ("attachments", "data:text/plain,x", "attachments[0]"),
    ("attachments", b"/etc/passwd", "attachments"),
    ("attachments", {"a.pdf": b"x"}, "attachments"),
    ("attachments", 5, "attachments"),
    ("attachments", Foreign(), "attachments"),
    ("attachments", [None], "attachments[0]"),
    ("attachments", [5], "attachments[0]"),
    ("attachments", [("a.pdf", "text")], "attachments[0]"),
    ("attachments", [("a.pdf", b"x", "more")], "attachments[0]"),
    ("attachments", [(b"a.pdf", b"x")], "attachments[0]"),
    ("attachments", [("", b"x")], "attachments[0].name"),
    ("attachments", [(".", b"x")], "attachments[0].name"),
    ("attachments", [("..", b"x")], "attachments[0].name"),
    ("attachments", [("a/", b"x"), ("a/../", b"x")], "attachments[1].name"),
    ("attachments", [("\u202e", b"x")], "attachments[0].name"),
    ("attachments", [("a.pdf\r\nBcc: evil@example.com", b"x")], "attachments[0].name"),
    ("attachments", [("malicious_test.sh\r\n.txt", b"x")], "attachments[0].name"),
    ("attachments", [("a\0.pdf", b"x")], "attachments[0].name"),
    ("attachments", [("caf\udce9.pdf", b"x")], "attachments[0].name"),
    ("attachments", [("x" * MILLION, b"x")], "attachments[0].name"),
    ("attachments", [("a", b"x" * (26 * 1024 * 1024))], "attachments"),
    ("attachments", [("a", b"x")] * 100_000, "attachments"),
    ("attachments", (("a", b"x") for _ in iter(int, 1)), "attachments"),
    ("attachments", bytearray(MILLION), "attachments"),
    ("attachments", [file_of(None)], "attachments[0]"),
    ("attachments", [file_of("text")], "attachments[0]"),
    ("attachments", [io.StringIO("text")], "attachments[0]"),
    # Inline parts
    ("inline", {"a\r\nb": ("a.png", PICTURE)}, "inline['a\\r\\nb'].content_id"),
    ("inline", {"a>": ("a.png", PICTURE)}, "inline['a>'].content_id"),
    ("inline", {"": ("a.png", PICTURE)}, "inline[''].content_id"),
    ("inline", {"é": ("a.png", PICTURE)}, "inline['é'].content_id"),
    ("inline", {5: ("a.png", PICTURE)}, "inline[a int].content_id"),
    ("inline", {"a": ("a\n.png", PICTURE)}, "inline['a'].name"),
    ("inline", {"a": "/etc"}, "inline['a']"),
    ("inline", [("a.png", PICTURE)], "inline"),
    ("inline", {"x" * MILLION: ("a.png", PICTURE)}, f"inline['{'x' * 80}'].content_id"),
    # When and how
    ("send_at", datetime(2026, 1, 1), "send_at"),
    ("send_at", date(2026, 1, 1), "send_at"),
    ("send_at", float("nan"), "send_at"),
    ("send_at", 1.5, "send_at"),
    ("send_at", True, "send_at"),
    ("send_at", -1, "send_at"),
    ("send_at", HUGE, "send_at"),
    ("send_at", "2026-01-01", "send_at"),
    ("date_ms", float("inf"), "date"),
    ("date_ms", 10**15, "date"),
    ("expires_in", float("nan"), "expires_in"),
    ("expires_in", float("inf"), "expires_in"),
    ("expires_in", 0, "expires_in"),
    ("expires_in", -1, "expires_in"),
    ("expires_in", True, "expires_in"),
    ("expires_in", HUGE, "expires_in"),
    ("expires_in", timedelta(0), "expires_in"),
    ("expires_in", timedelta.max, "expires_in"),
    ("expires_in", Decimal(5), "expires_in"),
    ("expires_in", "5", "expires_in"),
    ("priority", "urgent", "priority"),
    ("priority", True, "priority"),
    ("priority", HUGE, "priority"),
    ("priority", ["normal"], "priority"),
    ("on_uncertain", "drop", "on_uncertain"),
    ("on_uncertain", None, "on_uncertain"),
    ("relay", "../x", "relay"),
    ("relay", "a\r\nb", "relay"),
    ("relay", "{7}:letter", "relay"),
    ("relay", "*", "relay"),
    ("relay", "", "relay"),
    ("relay", HUGE, "relay"),
    ("notify", "", "notify"),
    ("notify", "SUCCESS", "notify"),
    ("notify", "failure,delay", "notify"),
    ("notify", ["failure", "always"], "notify"),
    ("notify", ["never", "failure"], "notify"),
    ("notify", "never\r\nRSET", "notify"),
    ("notify", [5], "notify"),
    ("notify", 5, "notify"),
    ("notify", b"never", "notify"),
    ("notify", {"never": 1}, "notify"),
    ("notify", ["failure"] * 1000, "notify"),
    ("ret", "FULL", "ret"),
    ("ret", "hdrs", "ret"),
    ("ret", "", "ret"),
    ("ret", True, "ret"),
    ("ret", ["full"], "ret"),
    ("envid", "", "envid"),
    ("envid", "x" * 101, "envid"),
    ("envid", "a\r\nRSET", "envid"),
    ("envid", "a\tb", "envid"),
    ("envid", "a\x7f", "envid"),
    ("envid", "é", "envid"),
    ("envid", b"a", "envid"),
    ("envid", 5, "envid"),
    ("envid", HUGE, "envid"),
    ("tags", "a b", "tags"),
    ("tags", ["a\n"], "tags"),
    ("tags", ["x" * 65], "tags"),
    ("tags", ["é"], "tags"),
    ("tags", [5], "tags"),
    ("tags", b"a", "tags"),
    ("tags", {"a": 1}, "tags"),
    ("tags", 5, "tags"),
    ("tags", map(str, range(MILLION)), "tags"),
    ("id", "../x", "id"),
    ("id", "*", "id"),
    ("id", "a{b}", "id"),
    ("id", "a b", "id"),
    ("id", "a\n", "id"),
    ("id", "", "id"),
    ("id", "x" * 10_000, "id"),
    ("id", 5, "id"),
    ("id", HUGE, "id"),
    ("idempotency_key", "", "idempotency_key"),
    ("idempotency_key", "x" * 257, "idempotency_key"),
    ("idempotency_key", "a\ud800", "idempotency_key"),
    ("idempotency_key", "a\nb", "idempotency_key"),
    ("idempotency_key", 5, "idempotency_key"),
    ("idempotency_key", b"x", "idempotency_key"),
]

PARTS: list[tuple[dict[str, Any], str]] = [
    ({"content_type": "text/plain; charset=x"}, "content_type"),
    ({"content_type": "text / plain"}, "content_type"),
    ({"content_type": "text"}, "content_type"),
    ({"content_type": "text/plain\r\nX: y"}, "content_type"),
    ({"content_type": "text/é"}, "content_type"),
    ({"content_type": "x" * MILLION}, "content_type"),
    ({"content_type": 5}, "content_type"),
    ({"charset": 'utf-8"; x="y'}, "charset"),
    ({"charset": "utf-8\r\n"}, "charset"),
    ({"charset": "utf-7"}, "charset"),
    ({"charset": "idna"}, "charset"),
    ({"charset": "rot13"}, "charset"),
    ({"charset": "zlib"}, "charset"),
    ({"charset": "unicode_escape"}, "charset"),
    ({"charset": "undefined"}, "charset"),
    ({"charset": "mbcs"}, "charset"),
    ({"charset": "utf-16"}, "charset"),
    ({"charset": "utf-8-sig"}, "charset"),
    ({"charset": "punycode"}, "charset"),
    ({"charset": "x" * MILLION}, "charset"),
    ({"charset": 5}, "charset"),
    ({"text": "é", "charset": "us-ascii"}, "text"),
    ({"text": b"\xff", "charset": "utf-8", "content_type": "text/plain"}, "charset"),
    ({"encoding": "7bit\r\n"}, "encoding"),
    ({"encoding": "binary"}, "encoding"),
    ({"encoding": "x-uuencode"}, "encoding"),
    ({"encoding": 5}, "encoding"),
    ({"text": "é", "encoding": "7bit"}, "encoding"),
    ({"text": "x" * 999, "encoding": "7bit"}, "encoding"),
    ({"text": b"\0", "encoding": "8bit"}, "encoding"),
    ({"parameters": {"x; name=evil.exe": "1"}}, "parameters['x; name=evil.exe']"),
    ({"parameters": {"a b": "1"}}, "parameters['a b']"),
    ({"parameters": {"a=": "1"}}, "parameters['a=']"),
    ({"parameters": {"name*": "1"}}, "parameters['name*']"),
    ({"parameters": {"boundary": "x"}}, "parameters['boundary']"),
    ({"parameters": {"x": "a\r\nb"}}, "parameters['x']"),
    ({"parameters": {"x": "y" * MILLION}}, "parameters['x']"),
    ({"parameters": {"charset": "rot13"}}, "parameters['charset']"),
    ({"parameters": "x=y"}, "parameters"),
    ({"parameters": {"x": 5}}, "parameters"),
    ({"headers": {"X": "a\r\nb"}}, "headers['X']"),
    ({"headers": {"Bcc": "a@b.c"}}, "headers['Bcc']"),
    ({"headers": {"Content-Type": "a/b"}}, "headers['Content-Type']"),
    ({"headers": {"X Y": "z"}}, "headers['X Y']"),
    ({"disposition": "inline; x=y"}, "disposition"),
    ({"disposition": "attachment\r\n"}, "disposition"),
    ({"disposition": 5}, "disposition"),
    ({"name": "a\r\nb"}, "name"),
    ({"name": "\ud800"}, "name"),
    ({"name": 5}, "name"),
    ({"content_id": "a b"}, "content_id"),
    ({"content_id": "a>\r\nX: y"}, "content_id"),
    ({"content_id": 5}, "content_id"),
    ({"description": "a\r\nb"}, "description"),
    ({"description": 5}, "description"),
    ({"text": None}, "text"),
    ({"text": "x", "file": io.BytesIO(b"x")}, "text"),
    ({"text": "x", "content_type": "multipart/mixed"}, "text"),
    ({"text": "no header", "content_type": "message/rfc822"}, "content_type"),
    ({"text": "A: b\n\nc", "content_type": "message/rfc822", "encoding": "base64"}, "encoding"),
    ({"text": None, "subparts": []}, "subparts"),
    ({"text": None, "subparts": [5]}, "subparts[0]"),
    ({"text": None, "subparts": [make_mime_part("x")] * 100_000}, "subparts"),
]


@pytest.mark.parametrize(("value", "field"), ADDRESSES, ids=briefly)
def test_a_hostile_address_is_refused_wherever_an_address_stands(value: Any, field: str) -> None:
    assert field in refused(lambda: letter(value))
    if value is not None:
        for keyword in ("cc", "bcc", "reply_to"):
            assert field.replace("to", keyword, 1) in refused(lambda keyword=keyword: letter(**{keyword: value}))  # type: ignore[misc]
    if isinstance(value, str) and value:
        assert "from_" in refused(lambda: letter(from_=value))
        assert "envelope_from" in refused(lambda: letter(envelope_from=value))


@pytest.mark.parametrize(("keyword", "value", "field"), KEYWORDS, ids=briefly)
def test_a_hostile_value_is_refused_by_the_name_of_its_field(keyword: str, value: Any, field: str) -> None:
    html = {"html": "<p>"} if keyword == "inline" else {}
    assert field in refused(lambda: letter(**html, **{keyword: value}))


@pytest.mark.parametrize(("arguments", "field"), PARTS, ids=briefly)
def test_a_hostile_part_is_refused_by_the_name_of_its_argument(arguments: dict[str, Any], field: str) -> None:
    assert field in refused(part(**arguments))


@pytest.mark.parametrize(
    ("octets", "charset"),
    [(b"\xff", "utf-8"), ("é".encode(), "us-ascii"), (b"\x80", "iso-2022-jp"), (b"\x81", "windows-1252")],
)
def test_a_part_says_the_charset_that_it_is_in(octets: bytes, charset: str) -> None:
    for make in (
        lambda: make_mime_part(octets, content_type="text/plain", charset=charset),
        lambda: Part("text/plain", octets, charset, "base64"),
    ):
        assert refused(make) == ["charset"]
    assert make_mime_part(io.BytesIO(b"\xff").read(), name="a.txt").charset is None
    # Whatever the charset asked for, the octets are in it.
    assert make_mime_part("é", charset="iso-8859-1").content == b"\xe9"


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len(ADDRESSES) + len(KEYWORDS) + len(PARTS) >= 300


def test_all_problems_come_in_one_error() -> None:
    fields = refused(
        lambda: letter(
            ["ok@example.com", "a@b.c\n", "nobody"],
            "\ud800",
            from_="x",
            subject="a\r\nb",
            headers={"X": "a\nb", "Y Z": "c"},
            attachments=["/no/such/file", ("a\n", b"")],
            envelope_from="x y",
            expires_in=-1,
            tags=["a b"],
            idempotency_key="\ud800",
        )
    )
    assert fields == [
        "idempotency_key", "from_", "to[1]", "to[2]", "subject", "headers['X']", "headers[1]", "message",
        "attachments[0]", "attachments[1].name", "envelope_from", "expires_in", "tags",
    ]  # fmt: skip


# --- controls, everywhere --------------------------------------------------------------------------------------------

CONTROLS = [
    "\r\n", "\n", "\r", "\0", "\x01", "\x0b",
    "\x0c", "\x1b", "\x1c", "\x1e", "\x7f", "\x85", "\x9b", "\ud800", "\udcff",
]  # fmt: skip
PLACES: dict[str, Callable[[str], Any]] = {
    "a recipient": lambda c: letter(f"a{c}@b.c"),
    "a recipient's domain": lambda c: letter(f"a@b{c}.c"),
    "a quoted recipient": lambda c: letter(f'"a{c}"@b.c'),
    "a recipient's name": lambda c: letter((f"a{c}b", "a@b.c")),
    "a name in a string": lambda c: letter(f"a{c}b <a@b.c>"),
    "a quoted name in a string": lambda c: letter(f'"a{c}b" <a@b.c>'),
    "a group's name": lambda c: letter(f"a{c}b: a@b.c;"),
    "cc": lambda c: letter(cc=f"a{c}@b.c"),
    "bcc": lambda c: letter(bcc=f"a@b{c}.c"),
    "reply-to": lambda c: letter(reply_to=(f"a{c}", "a@b.c")),
    "the author": lambda c: letter(from_=f"a{c}@b.c"),
    "the author's name": lambda c: letter(from_=(f"a{c}", "a@b.c")),
    "the reverse-path": lambda c: letter(envelope_from=f"a{c}@b.c"),
    "the subject": lambda c: letter(subject=f"a{c}b"),
    "the end of the subject": lambda c: letter(subject=f"a{c}"),
    "a field's name": lambda c: letter(headers={f"X{c}Y": "z"}),
    "the end of a field's name": lambda c: letter(headers={f"X{c}": "z"}),
    "a field": lambda c: letter(headers={"X": f"a{c}b"}),
    "the end of a field": lambda c: letter(headers={"X": f"a{c}"}),
    "a field of addresses": lambda c: letter(headers={"Sender": f"a{c}@b.c"}),
    "a field of programs": lambda c: letter(headers={"References": f"<a@b>{c}<c@d>"}),
    "a field of keywords": lambda c: letter(headers={"Keywords": f"a,{c}b"}),
    "a URL": lambda c: letter(list_unsubscribe=f"https://example.com/{c}"),
    "a file name": lambda c: letter(attachments=[(f"a{c}.pdf", b"")]),
    "an inline file's name": lambda c: letter(html="<p>", inline={"a": (f"a{c}.png", b"")}),
    "a content id": lambda c: letter(html="<p>", inline={f"a{c}": ("a.png", b"")}),
    "a relay": lambda c: letter(relay=f"a{c}"),
    "a tag": lambda c: letter(tags=[f"a{c}"]),
    "an id": lambda c: letter(id=f"a{c}"),
    "an idempotency key": lambda c: letter(idempotency_key=f"a{c}"),
    "a content type": lambda c: part(content_type=f"text/a{c}")(),
    "a charset": lambda c: part(charset=f"utf-8{c}")(),
    "an encoding": lambda c: part(encoding=f"7bit{c}")(),
    "a parameter's name": lambda c: part(parameters={f"a{c}": "b"})(),
    "a parameter": lambda c: part(parameters={"a": f"b{c}"})(),
    "a field of a part": lambda c: part(headers={"X": f"a{c}"})(),
    "a disposition": lambda c: part(disposition=f"inline{c}")(),
    "a part's name": lambda c: part(name=f"a{c}")(),
    "a part's content id": lambda c: part(content_id=f"a{c}")(),
    "a part's description": lambda c: part(description=f"a{c}")(),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_control_and_no_half_a_character_comes_near_a_header_or_a_command(place: str) -> None:
    for control in CONTROLS:
        assert refused(lambda control=control: PLACES[place](control))  # type: ignore[misc]


# --- what is long ----------------------------------------------------------------------------------------------------

LONG = [*(character * MILLION for character in ("x", "é", "\n", " ", '"', "\u0301")), "=?" * 500_000, COMMAS]


@pytest.mark.parametrize("place", PLACES)
def test_a_million_characters_are_refused_in_time(place: str) -> None:
    for text in LONG:
        assert refused(lambda text=text: PLACES[place](text))  # type: ignore[misc]


BOMBS = [
    "<div>" * 50_000, "<!--" * 65_000, "<" * 260_000, "&nbsp;" * 40_000, "&" * 260_000, "<a href='x'>" * 20_000,
    "<ul>" * 3000, "<blockquote></ul>" * 4000, "\n" * 260_000, "<?" * 130_000, "<![CDATA[" * 28_000, "<a " * 80_000,
    "<p x=" * 50_000, "</" * 130_000, "<ol><li>" * 3000, "\n\n1." * 60_000, "- \n" * 80_000, "[" * 260_000,
    "<script>" * 9000, "<table><tr><td>" * 3000, ("<a " + "x=" * 1990 + ">") * 60,
]  # fmt: skip


@pytest.mark.parametrize("html", BOMBS, ids=lambda html: html[:20])
def test_html_of_any_kind_is_taken_in_time(html: str) -> None:
    with in_time(4):
        made = letter(message=None, html=html)
    assert made.html is not None
    assert made.html.text == html


@pytest.mark.parametrize("text", LONG, ids=lambda text: repr(text[:3]))
def test_a_long_body_is_taken_in_time(text: str) -> None:
    with in_time(4):
        octets = letter(message=text, html=text, attachments=[("a.txt", text.encode())]).as_bytes()
    assert max(map(len, octets.split(b"\r\n"))) <= 998


# --- trees -----------------------------------------------------------------------------------------------------------


def nested(levels: int) -> Part:
    tree = make_mime_part("x")
    for _ in range(levels):
        tree = make_mime_part(subparts=[tree])
    return tree


def test_a_tree_too_deep_is_refused() -> None:
    with pytest.raises(InvalidLetter):
        nested(10_000)


def test_a_tree_that_holds_itself_is_refused() -> None:
    body = nested(3)
    object.__setattr__(body.subparts[0], "subparts", (body,))
    for keyword in ("message", "html"):
        with in_time(), pytest.raises(InvalidLetter):
            letter(**{"message": None, keyword: body}, attachments=[make_mime_part(subparts=[body])])


def test_a_million_parts_are_refused() -> None:
    wide = make_mime_part(subparts=[make_mime_part("x")] * 900)
    assert refused(lambda: letter(attachments=[wide] * 900)) == ["attachments"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "to-zero").symlink_to("/dev/zero")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(10 * 1024**3)
    for name in ("fifo", "folder", "loop", "to-zero", "sparse", "missing"):
        for given_path in (tmp_path / name, str(tmp_path / name)):
            assert refused(lambda path=given_path: letter(attachments=[path])) == ["attachments[0]"]  # type: ignore[misc]
            assert refused(lambda path=given_path: letter(html="<p>", inline={"a": path})) == ["inline['a']"]  # type: ignore[misc]


def test_an_endless_file_is_read_up_to_the_limit() -> None:
    with Path("/dev/zero").open("rb") as zero:
        assert refused(lambda: letter(attachments=[zero])) == ["attachments[0]"]
        assert refused(lambda: letter(message=zero)) == ["message"]
    with Path("/dev/zero").open(encoding="utf-8") as zeroes:
        assert refused(lambda: letter(message=zeroes)) == ["message"]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with (tmp_path / "a").open("rb") as closed:
        pass
    with (tmp_path / "b").open("wb") as write_only:
        for file in (closed, write_only):
            assert refused(lambda file=file: letter(message=file)) == ["message"]  # type: ignore[misc]
            assert refused(lambda file=file: letter(attachments=[file])) == ["attachments[0]"]  # type: ignore[misc]


def test_html_never_draws_files_in() -> None:
    made = letter(message=None, html='<img src="/etc/passwd"><img src="file:///etc/passwd"><a href="/etc/passwd">x</a>')
    assert b"root:" not in made.as_bytes()
    assert len(made.parts) == 2


# --- what is taken, and harmless -------------------------------------------------------------------------------------

HARMLESS: list[dict[str, Any]] = [
    {"subject": "=?utf-8?q?a=0D=0ABcc:=20evil@example.com?="},
    {"subject": "A 💩 subject=?UTF-8?Q?=0A?=Bcc: injected@example.com"},
    {"subject": "Bcc: evil@example.com"},
    {"subject": " " * 200},
    {"subject": "a" * 70 + " " * 120 + "b"},
    {"subject": "\u2028Bcc: evil@example.com\u2029"},
    {"subject": "\u202eevil"},
    {"subject": "{{ cycler.__init__.__globals__ }} {user.password} %(x)s"},
    {"subject": "=?utf-8?q?_?==?utf-8?q?Gen=C3=A8ve?="},
    {"to": [("support@bank.com,", "ann@example.com")]},
    {"to": ("=?utf-8?q?support=40bank=2Ecom=2C?=", "ann@example.com")},
    {"to": [("a, b <evil@example.com>", "ann@example.com")]},
    {"to": ('"', "ann@example.com")},
    {"to": ("\\", "ann@example.com")},
    {"to": ("x" * 998, "ann@example.com")},
    {"to": ("ä" * 62 + ", b", "ann@example.com")},
    {"to": "-X/var/www/x.php@example.com"},
    {"to": "-oQ/tmp@example.com"},
    {"to": "ann@раypal.com"},
    {"headers": {"X": "a" * 900}},
    {"headers": {"X": "Bcc: evil@example.com"}},
    {"headers": {"List-Unsubscribe": "<https://example.com/?q==?utf-8?q?a?=>"}},
    {"list_unsubscribe": "mailto:a@example.com?subject=%0D%0ABcc:evil@example.com"},
    {"attachments": [('a".exe', b"")]},
    {"attachments": [("a.pdf\\", b"")]},
    {"attachments": [('x.pdf"; name="evil.exe', b"")]},
    {"attachments": [("x; filename=evil.exe", b"")]},
    {"attachments": [("../../etc/passwd", b"")]},
    {"attachments": [("C:\\x.pdf", b"")]},
    {"attachments": [("inv\u202efdp.exe", b"")]},
    {"attachments": [("x" * 300, b"")]},
    {"attachments": [("a. ", b"")]},
    {"attachments": [("a\u2028b", b"")]},
    {"attachments": [("utf-8''x.pdf", b"")]},
    {"attachments": [("a", b"\r\n.\r\nMAIL FROM:<evil@example.com>\r\n")]},
    {"attachments": [("a", b"--=_\r\n--=_0--\r\n")]},
    {"attachments": [("a.eml", b"From: evil@example.com\r\nBcc: x@example.com\r\n\r\n--=_")]},
    {"message": "a\r\n\r\n.\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\n"},
    {"message": "\n.\r\n"},
    {"message": "\n.\n"},
    {"message": "\r\n.\n"},
    {"message": "\r.\r\n"},
    {"message": "\r\n.\r"},
    {"message": "\r\n\0.\r\n"},
    {"message": "\r\r\n.\r\r\n"},
    {"message": make_mime_part(b"\r.\r\n\n.\n", content_type="application/x")},
    {"message": "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"},
    {"message": "\ufeffhello"},
    {"message": "\r\nSubject: in the body\r\n\r\n"},
    {"html": "<script>alert(1)</script>"},
    {"calendar": f"{INVITATION}\r\nATTENDEE:mailto:evil@example.com\r\n"},
]


def leaves_of(message: Message) -> Iterator[Message]:
    """The parts that hold no others; a message within the message is one."""
    if message.get_content_maintype() != "multipart":
        yield message
        return
    payload: Any = message.get_payload()
    for below in payload:
        yield from leaves_of(below)


@pytest.mark.parametrize("keywords", HARMLESS, ids=lambda keywords: repr(keywords)[:60])
def test_what_is_taken_adds_no_field_no_part_and_no_recipient(keywords: dict[str, Any]) -> None:
    made = letter(**{"subject": "s", **keywords})
    octets = made.as_bytes()
    message = email.message_from_bytes(octets, policy=email.policy.default)
    fields = ["from", "to", "subject", "date", "message-id", *(name.lower() for name, _ in made.headers)]
    written = [name.lower() for name in message.keys()]  # noqa: SIM118  (repeats count)
    assert written[: len(fields)] == fields
    of_mime = {"mime-version", "content-type", "content-transfer-encoding", "content-disposition"}
    assert set(written[len(fields) :]) <= of_mime
    assert len(made.envelope.recipients) == 1
    assert "evil@example.com" not in made.envelope.recipients
    leaves = list(leaves_of(message))
    given_leaves = len(made.parts) + (1 if made.calendar else 0)
    assert len(leaves) == given_leaves
    assert not any("/" in (name := part.get_filename() or "") or "\u202e" in name for part in leaves)
    assert b"\n." not in octets.replace(b"\r\n", b"").replace(b"\n", b"\n.")
    assert b"\r" not in octets.replace(b"\r\n", b"")


def test_a_letter_forwarded_in_itself_reads_back() -> None:
    inner = letter(html="<p>", attachments=[("a.pdf", b"x")], id="the-same")
    for _ in range(4):
        forwarded = make_mime_part(inner.as_bytes(), content_type="message/rfc822")
        outer = letter(html="<p>", attachments=[forwarded], id="the-same")
        message = email.message_from_bytes(outer.as_bytes(), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        (attached,) = message.iter_attachments()
        assert attached.get_content().as_bytes().split() == inner.as_bytes().split()
        inner = outer


def test_stored_contents_that_are_not_what_they_say_never_leave() -> None:
    body = Part("text/plain", Stored("a" * 64, 4), "utf-8", "7bit")
    for octets in (b"\r.\r\n", b"a\nb\n", b"\0abc", b"\xff\xfe\xfd\xfc"):
        with pytest.raises(InvalidLetter):
            letter(message=body).octets(lambda _, octets=octets: octets)  # type: ignore[misc]


# --- whatever hypothesis thinks of -----------------------------------------------------------------------------------

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=30), st.binary(max_size=30),
    st.sampled_from(["a@b.c", "\r\n", "/etc/passwd", Foreign(), object, datetime(2026, 1, 1), timedelta(1)]),
)  # fmt: skip
_values = st.recursive(
    _scalars,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.tuples(below, below),
        st.dictionaries(st.text(st.characters(), max_size=5) | st.integers(), below, max_size=3),
    ),
    max_leaves=6,
)
_KEYWORDS = [
    "to", "message", "from_", "subject", "html", "cc", "bcc", "reply_to", "headers", "attachments", "inline",
    "calendar", "text_from_html", "list_unsubscribe", "envelope_from", "relay", "send_at", "expires_in", "priority",
    "idempotency_key", "on_uncertain", "tags", "id", "date_ms", "ready", "notify", "ret", "envid",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(_KEYWORDS), _values, max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_letter_of_anything_is_made_or_refused_and_nothing_else(keywords: dict[str, Any]) -> None:
    try:
        made = letter(**keywords)
    except InvalidLetter:
        return
    assert Letter.from_json(made.to_json(), SETTINGS) == kept_letter(made.to_json()) == made
    assert made.as_bytes()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=6), below, max_size=3),
    max_leaves=6,
)
_part_json = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text/plain", "a/b", "message/rfc822", "multipart/mixed", "x"])},
        optional={
            "text": st.text(max_size=10),
            "base64": st.sampled_from(["", "DQo=", "*"]),
            "charset": st.sampled_from(["utf-8", "x", None]),
            "encoding": st.sampled_from(["7bit", "8bit", "base64", "quoted-printable", "x", None]),
            "name": st.text(max_size=5),
            "content_id": st.sampled_from(["a", "b c", ""]),
            "parameters": st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2),
            "stored": st.just(["a" * 64, 3]),
        },
    ),
    lambda below: st.fixed_dictionaries(
        {"type": st.sampled_from(["multipart/mixed", "a/b"]), "subparts": st.lists(below, max_size=2)}
    ),
    max_leaves=4,
)
_letter_json = st.fixed_dictionaries(
    {"schema": st.just(1), "from": st.just("a@b.c"), "to": st.just("d@e.f")},
    optional={
        "message": _part_json | st.text(max_size=5),
        "html": _part_json | st.text(max_size=5),
        "calendar": _part_json,
        "ready": _part_json,
        "attachments": st.lists(_part_json, max_size=2),
        "inline": st.lists(_part_json, max_size=2),
        "headers": st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2),
        "send_at_ms": st.integers(),
        "expires_in_ms": st.integers(),
        "date_ms": st.integers(),
        "anything": _json,
    },
)


@given(_letter_json | _json)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_json_of_anything_is_a_letter_or_refused_and_nothing_else(text: Any) -> None:
    try:
        made = Letter.from_json(json.dumps(text), SETTINGS)
    except (InvalidLetter, NewerSchema):
        return
    assert Letter.from_json(made.to_json(), SETTINGS) == made


_PIECES = [b"From: a@b.c", b"To: d@e.f", b"\r\n", b"\n", b"\r", b" ", b"Bcc: x@y.z", b"Subject: =?utf-8?q?=0A?=",
           b"\xff", b"\0", b":", b"x" * 990]  # fmt: skip


@given(st.binary(max_size=200) | st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join))
def test_octets_of_any_kind_are_a_message_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        made = Letter.from_bytes(raw, settings=Settings())
    except InvalidLetter:
        return
    octets = made.as_bytes()
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\nBcc:" not in octets.partition(b"\r\n\r\n")[0]
    assert Letter.from_json(made.to_json(), SETTINGS) == made
