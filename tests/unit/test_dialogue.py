"""A dialogue for people to read: commands and replies; no content and no secret, however the octets are cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from postroom.errors import LedgerUnavailable
from postroom.reply import Reply
from postroom_worker.smtp.dialogue import Dialogue

SECRET = b"Subject: the secret\r\n\r\nMAIL FROM:<no@command>\r\n..\r\nBDAT 1\r\n"


def following(*, has_addresses: bool = False) -> tuple[Dialogue, list[str]]:
    told: list[str] = []
    return Dialogue(told.extend, has_addresses=has_addresses), told


def said(dialogue: Dialogue, octets: bytes, at_once: int) -> None:
    for start in range(0, len(octets), at_once):
        dialogue.we_said(octets[start : start + at_once])


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1000])
def test_content_after_data_is_told_by_its_size_alone(at_once: int) -> None:
    dialogue, told = following()
    said(dialogue, b"DATA\r\n", at_once)
    dialogue.relay_said(Reply(354), ["go on"])
    said(dialogue, SECRET + b".\r\nRSET\r\n", at_once)
    assert told == ["C: DATA", "S: 354 go on", f"C: ({len(SECRET) + 3} octets of content)", "C: RSET"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1000])
def test_chunks_are_told_by_their_size_alone(at_once: int) -> None:
    dialogue, told = following()
    letter = b"BDAT %d LAST\r\n%bRSET\r\n" % (len(SECRET), SECRET)
    said(dialogue, letter + letter, at_once)
    assert told == 2 * [f"C: BDAT {len(SECRET)} LAST", f"C: ({len(SECRET)} octets of content)", "C: RSET"]


def test_a_content_of_nothing_but_its_end_is_over_at_once() -> None:
    dialogue, told = following()
    dialogue.relay_said(Reply(354), ["go on"])
    dialogue.we_said(b".\r\nQUIT\r\n")
    assert told[1:] == ["C: (3 octets of content)", "C: QUIT"]


@pytest.mark.parametrize("line", ["RCPT TO:<ann@example.com>", 'RCPT TO:<"ann, mary"@example.com>'])
def test_addresses_are_told_by_their_domains_unless_somebody_asks_for_them(line: str) -> None:
    dialogue, told = following()
    whole, told_whole = following(has_addresses=True)
    for each in (dialogue, whole):
        each.we_said(line.encode() + b"\r\n")
    assert told == ["C: RCPT TO:<…@example.com>"]
    assert told_whole == [f"C: {line}"]


def test_each_line_of_a_reply_is_told_and_none_can_drive_a_terminal() -> None:
    dialogue, told = following()
    dialogue.relay_said(Reply(250), ["relay\x1b[2J", "SIZE 1"])
    assert told == ["S: 250-relay\\x1b[2J", "S: 250 SIZE 1"]


def test_credentials_are_told_by_their_mechanism() -> None:
    dialogue, told = following()
    dialogue.credentials_went("AUTH PLAIN")
    dialogue.credentials_answered(Reply(334, "VXNlcm5hbWU6"))
    dialogue.credentials_went("")
    dialogue.credentials_answered(Reply(535, "no", "5.7.8"))
    assert told == ["C: AUTH PLAIN ****", "S: 334 ****", "C: ****", "S: 535 5.7.8 no"]


def test_a_letter_does_not_wait_for_those_who_trace() -> None:
    def away(_: Sequence[str]) -> None:
        raise LedgerUnavailable("away")

    Dialogue(away, has_addresses=False).we_said(b"NOOP\r\n")
