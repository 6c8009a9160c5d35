"""The four letters of the tutorial, as they arrive."""

from __future__ import annotations

import hashlib
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from house import House
from japanese import ISO_2022_JP, ISO_2022_JP_SHA256, TEXT
from postroom import LetterState, Part, make_mime_part

FIRST = "hi!! this is my first programmatic email!"
SECOND = "hi!! this is my first mime-compliant programmatic email!"


def arrives(house: House, to: str, message: str | Part) -> EmailMessage:
    """Send a letter, and return it as the relay took it, read by the standard library."""
    receipt = house.postroom.send_letter(to, message)
    status = receipt.wait()
    assert status.state is LetterState.SENT
    assert house.accepted(receipt) == {to: 1}
    [octets] = house.octets(receipt)
    read = BytesParser(policy=policy.SMTP).parsebytes(octets)
    assert not read.defects
    assert isinstance(read, EmailMessage)
    return read


def body(message: EmailMessage) -> bytes:
    """The body's octets, decoded, without the end of the last line."""
    octets = message.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.removesuffix(b"\r\n")


def test_a_string_arrives_as_plain_text(shared: House) -> None:
    message = arrives(shared, "tutorial-1@example.com", FIRST)
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() in ("us-ascii", "utf-8")
    assert message["content-transfer-encoding"] == "7bit"
    assert body(message) == FIRST.encode()


def test_the_same_as_a_part_arrives_with_the_same_header(shared: House) -> None:
    plain = arrives(shared, "tutorial-2@example.com", FIRST)
    made = arrives(shared, "tutorial-2@example.com", make_mime_part(text=SECOND))
    assert made.keys() == plain.keys()
    differing = {name for name in plain.keys() if plain[name] != made[name]}  # noqa: SIM118  (a message is no mapping)
    assert differing <= {"Message-ID", "Date"}
    assert body(made) == SECOND.encode()


def test_a_japanese_string_arrives_in_utf_8(shared: House) -> None:
    message = arrives(shared, "tutorial-3@example.com", TEXT)
    assert message.get_content_charset() == "utf-8"
    assert message["content-transfer-encoding"] == "base64"
    assert body(message).decode() == TEXT


def test_the_same_in_iso_2022_jp_arrives_untouched_in_7bit(shared: House) -> None:
    assert len(ISO_2022_JP) == 304
    assert hashlib.sha256(ISO_2022_JP).hexdigest() == ISO_2022_JP_SHA256
    message = arrives(shared, "tutorial-4@example.com", make_mime_part(text=TEXT, charset="iso-2022-jp"))
    assert message.get_content_charset() == "iso-2022-jp"
    assert message["content-transfer-encoding"] == "7bit"
    assert body(message) == ISO_2022_JP
    assert message.get_content().removesuffix("\r\n").removesuffix("\n") == TEXT
