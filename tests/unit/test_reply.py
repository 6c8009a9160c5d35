"""A reply as a value, and text from outside made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.reply import Reply, gist, printable, without_addresses


@pytest.mark.parametrize(
    ("code", "lines", "enhanced", "text"),
    [
        (250, ["2.1.5 ok"], "2.1.5", "ok"),
        (250, ["ok"], "", "ok"),
        (250, [""], "", ""),
        (250, ["2.1.5"], "2.1.5", ""),
        (550, ["5.1.1 no", "5.1.1 such", "5.1.1 mailbox"], "5.1.1", "no such mailbox"),
        (550, ["no", "such mailbox"], "", "no such mailbox"),
        (550, ["5.1.1", "", "  nobody  "], "5.1.1", "nobody"),
        (550, ["4.7.1 of another class"], "", "4.7.1 of another class"),
        (550, ["5.1.1.1 is no such code"], "", "5.1.1.1 is no such code"),
        (550, ["5.1234.1 is none"], "", "5.1234.1 is none"),
        (550, ["5.1.1nobody"], "", "5.1.1nobody"),
        (550, ["٥.1.1 nor this"], "", "٥.1.1 nor this"),
        (354, ["3.0.0 there is no class 3"], "", "3.0.0 there is no class 3"),
    ],
)
def test_the_enhanced_status_code_is_kept_apart(code: int, lines: list[str], enhanced: str, text: str) -> None:
    reply = Reply.of(code, lines)
    assert (reply.code, reply.enhanced, reply.text) == (code, enhanced, text)


def test_a_reply_reads_as_it_was_said() -> None:
    assert str(Reply.of(550, ["5.1.1 no such mailbox"])) == "550 5.1.1 no such mailbox"
    assert str(Reply.of(250, [""])) == "250"


def test_only_2yz_is_positive() -> None:
    assert [code for code in (211, 250, 299, 354, 450, 550) if Reply(code).is_positive] == [211, 250, 299]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("grüß 日本", "grüß 日本"),
        ("\x1b]0;evil\x07", "\\x1b]0;evil\\x07"),
        ("a\r\nforged log line", "a\\r\\nforged log line"),
        ("a\tb", "a\\tb"),
        ("fdp\u202e.exe", "fdp\\u202e.exe"),
        ("\ud800", "\\ud800"),
        ("[bold]not markup[/foo]", "[bold]not markup[/foo]"),
    ],
)
def test_controls_become_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_is_too_long_is_cut() -> None:
    assert printable("x" * 501) == "x" * 499 + "…"
    assert printable("x" * 500) == "x" * 500


@given(st.text())
def test_whatever_comes_can_be_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 <ann@example.com>: Recipient address rejected",
        "550 ann@example.com unknown",
        "550 to=ann@example.com, nothing",
        'mailbox "ann"@example.com is full',
    ],
)
def test_a_local_part_that_a_relay_repeats_is_left_out(text: str) -> None:
    assert "ann@" not in without_addresses(text)
    assert "@example.com" in without_addresses(text)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("550 5.1.1 No such mailbox here", "550 5.1.1 No such mailbox here"),
        ("550 5.1.1 <ann@example.com>: User unknown", "550 5.1.1 <…>: User unknown"),
        ("451 4.7.1 try again in 300 s (4f8Kq02xyz)", "451 4.7.1 try again in 300 s (…)"),
        ("421 4.7.0 [192.0.2.17] too many", "421 4.7.0 […] too many"),
        ("421 2001:db8::17 too many", "421 … too many"),
        ("450 4.2.0 at 2026-11-25T10:00:00Z", "450 4.2.0 at …"),
        ("550 5.7.520 Access denied, AS(201806281)", "550 5.7.520 Access denied, AS(…)"),
        ("connection refused", "connection refused"),
        ("\x1b[2J", r"\x1b[2J"),
    ],
)
def test_replies_that_differ_only_in_whom_and_when_are_one_reason(said: str, words: str) -> None:
    assert gist(said) == words


def test_a_long_reply_is_cut() -> None:
    assert len(gist("word " * 1000, 160)) == 160
