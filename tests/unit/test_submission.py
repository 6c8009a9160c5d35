"""How a submission is said to a relay, by what it offers: no parameter that it does not know or that is not needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.envelope import Envelope
from postroom_worker.smtp.submission import Submission, Wording, worded, xtext

ALL = ("size", "8bitmime", "smtputf8", "dsn", "pipelining", "chunking")


def asking(*to: str) -> Envelope:
    """An envelope that asks for reports."""
    return Envelope("a@example.com", to, notify=("success", "delay"), ret="full", envid="a b")


def said(envelope: Envelope, *features: str, content: bytes = b"Subject: x\r\n\r\nhi\r\n") -> Wording:
    """How it is said where these extensions are offered."""
    return worded(Submission(envelope, [content]), dict.fromkeys(features, ""))


def test_nothing_is_said_that_is_not_offered() -> None:
    found = said(asking("b@example.com"))
    assert list(found.commands) == [b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.com>\r\n"]
    assert found.options == frozenset()
    assert not found.has_chunks


def test_everything_is_said_that_is_needed_and_offered() -> None:
    content = "Subject: x\r\n\r\nhü\r\n".encode()
    found = said(asking("b@example.com", "п@example.com"), *ALL, content=content)
    assert list(found.commands) == [
        b"MAIL FROM:<a@example.com> SIZE=19 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+20b\r\n",
        b"RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.com\r\n",
        "RCPT TO:<п@example.com> NOTIFY=SUCCESS,DELAY\r\n".encode(),
    ]
    assert found.options == {"size", "dsn"}
    assert found.has_chunks


def test_no_report_is_asked_for_unasked() -> None:
    found = said(Envelope("a@example.com", ("b@example.com",)), *ALL)
    assert list(found.commands) == [b"MAIL FROM:<a@example.com> SIZE=18\r\n", b"RCPT TO:<b@example.com>\r\n"]
    assert found.options == {"size"}


def test_never_is_asked_for_alone() -> None:
    found = said(Envelope("", ("b@example.com",), notify=("never",)), "dsn")
    assert list(found.commands) == [
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<b@example.com> NOTIFY=NEVER ORCPT=rfc822;b@example.com\r\n",
    ]


def test_chunks_need_pipelining_too() -> None:
    envelope = Envelope("a@example.com", ("b@example.com",))
    assert not said(envelope, "chunking").has_chunks
    assert not said(envelope, "chunking", "pipelining", content=b"").has_chunks, "there is no first octet"


def test_who_alone_needs_an_extension_is_decided_alone() -> None:
    found = said(Envelope("a@example.com", ("b@example.com", "п@example.com")))
    assert list(found.paths) == ["b@example.com"]
    assert list(found.lacking) == ["п@example.com"]


@pytest.mark.parametrize("path", ["a\r\nb@example.com", "a\x00@example.com", "x" * 3000 + "@example.com"])
def test_what_cannot_stand_in_a_command_is_no_command(path: str) -> None:
    for envelope in (Envelope(path, ("b@example.com",)), Envelope("a@example.com", (path,))):
        with pytest.raises(ValueError, match="command"):
            said(envelope, *ALL)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_holds_nothing_that_ends_a_parameter_and_can_be_read_back(text: str) -> None:
    written = xtext(text)
    assert not set(written) & set(" =")
    first, *others = written.split("+")
    assert first + "".join(chr(int(each[:2], 16)) + each[2:] for each in others) == text
