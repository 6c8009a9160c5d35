"""Messages that come ready: an .eml, or what the standard library's ``email`` made. They are sent as they are.

Only line ends are seen to (and dots, on the wire), and Bcc is removed: it names recipients and must not travel.
"""

from __future__ import annotations

import re
from email.header import Header
from email.message import EmailMessage, Message
from email.policy import SMTP

from postroom import header
from postroom.address import Mailbox, extract_addresses, mailboxes
from postroom.encoded_word import decode_header
from postroom.errors import InvalidLetter, invalid
from postroom.part import Part
from postroom.transfer_encoding import normalize_newlines

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:((?:[^\r\n]|\r\n(?=[ \t]))*)\r\n")
_NOT_TO_TRAVEL = frozenset({b"bcc", b"resent-bcc"})
_FIELD_MAX = 256 * 1024
_DISPLAY_ROOM = 998


def octets_of(message: Message) -> bytes:
    """Return a message of the standard library as octets.

    Fields that came from a source stay as they were there; those that were set are written by our rules. (Python's own
    policies fold a long List-Unsubscribe or References into encoded words, which no program reads.)
    """
    whole = message.as_bytes(policy=SMTP.clone(refold_source="none"))
    _, _, body = whole.partition(b"\r\n\r\n")
    fields = [_field(name, value) for name, value in message.raw_items()]
    return b"".join(fields) + b"\r\n" + body


def _field(name: str, value: object) -> bytes:
    if isinstance(value, Header) or hasattr(value, "fold"):
        return header.field_octets(name, str(value), f"headers[{name!r}]")
    text = str(value).replace("\r\n", "\n").replace("\n", "\r\n")
    return f"{name}: {text}\r\n".encode("utf-8", "surrogateescape")


def split(raw: bytes) -> tuple[dict[str, list[str]], Part]:
    """Return what the header of a ready message says, and the message without its Bcc, as a part to be sent.

    Args:
        raw: the message; line ends of any kind.

    Returns:
        the values of each field, unfolded, by its name in lower case; and the message.

    Raises:
        InvalidLetter: it has no header, or cannot travel: a line is too long, or it holds NUL.
    """
    octets = normalize_newlines(raw)
    if octets.startswith(b"\xef\xbb\xbf"):
        raise invalid("raw", "it begins with a byte order mark", "take the first three octets off")
    head, gap, body = octets.partition(b"\r\n\r\n")
    if not gap:
        head, body = octets.removesuffix(b"\r\n"), b""
    if len(head) > _FIELD_MAX:
        raise invalid("raw", f"its header has {len(head)} octets", f"at most {_FIELD_MAX}")
    values: dict[str, list[str]] = {}
    kept = []
    place = 0
    head += b"\r\n"
    while place < len(head):
        match = _FIELD.match(head, place)
        if match is None:
            line = head[:place].count(b"\n") + 1
            raise invalid("raw", f"line {line} of it is no header field", "hand in a message")
        place = match.end()
        name = match[1].lower()
        values.setdefault(name.decode(), []).append(match[2].replace(b"\r\n", b"").decode("utf-8", "replace").strip())
        if name not in _NOT_TO_TRAVEL:
            kept.append(match[0])
    content = b"".join(kept) + b"\r\n" + body
    encoding = "7bit" if content.isascii() else "8bit"
    try:
        return values, Part("message/rfc822", content, encoding=encoding)
    except InvalidLetter as error:
        raise invalid(
            "raw", error.problems[0].problem, "hand in a message of MIME, lines of at most 998 octets"
        ) from None


def named(values: dict[str, list[str]], *names: str) -> list[Mailbox]:
    """Return the mailboxes that these fields name.

    Raises:
        InvalidLetter: one of them cannot be read.
    """
    found: list[Mailbox] = []
    for name in names:
        for value in values.get(name, []):
            found += mailboxes(extract_addresses(value, name)) if value else []
    return [Mailbox(each.address, _shown(each.name)) for each in found]


def subject(values: dict[str, list[str]]) -> str | None:
    """Return the Subject, decoded, safe to show."""
    text = next(iter(values.get("subject", [])), None)
    if text is None:
        return None
    return _shown(text)


def _shown(text: str) -> str:
    """Text of a header, decoded, safe to show: it is data, whatever it decodes to."""
    return "".join(char if char.isprintable() else " " for char in decode_header(text))[:_DISPLAY_ROOM]


def is_message(raw: object) -> bool:
    """True for a message of the standard library."""
    return isinstance(raw, Message | EmailMessage)
