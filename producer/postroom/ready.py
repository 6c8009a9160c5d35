"""Messages that come ready: an .eml, or what the standard library's ``email`` made. They are sent as they are.

Only line ends are seen to (and dots, on the wire), and Bcc is removed: it names recipients and must not travel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import MessageError
from email.header import Header
from email.message import EmailMessage, Message
from email.policy import SMTP, Policy, compat32

from postroom.address import Mailbox, extract_addresses, mailboxes
from postroom.errors import InvalidLetter, invalid
from postroom.mime import header
from postroom.mime.encoded_word import decode_header
from postroom.mime.part import Part
from postroom.mime.transfer_encoding import fits, normalize_newlines

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:((?:[^\r\n]|\r\n(?=[ \t]))*)\r\n")
_NAME = re.compile(r"[!-9;-~]+")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_ENDED = re.compile(r"\r(?!\n)|\n(?![ \t])|\0")
_NOT_TO_TRAVEL = frozenset({b"bcc", b"resent-bcc"})
_FIELD_MAX = 256 * 1024
_DISPLAY_ROOM = 998


def octets_of(message: object) -> bytes:
    """Return a ready message as octets.

    Fields of a message of the standard library stay as they were in its source; those that were set are written by our
    rules. (Python's policies fold a long List-Unsubscribe or References into encoded words, which no program reads.)

    Raises:
        InvalidLetter: it is neither octets nor such a message, or one that cannot be written, or a value in it holds a
            field of its own.
    """
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    if not isinstance(message, Message):
        raise invalid("raw", f"it is {type(message).__name__}", "give octets, or a message of Python's email package")
    try:
        for part in message.walk():
            for name, value in part.raw_items():
                _check_field(name, value)
        policy: Policy = SMTP.clone(refold_source="none") if isinstance(message, EmailMessage) else compat32
        # Of the standard library: Django's messages have one of their own, which knows no policy.
        whole = Message.as_bytes(message, policy=policy.clone(linesep="\r\n"))
        fields = [_field(name, value) for name, value in message.raw_items()]
    except InvalidLetter:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, MessageError) as error:
        problem = f"Python's email package cannot write it: {type(error).__name__}"
        raise invalid("raw", problem, "give octets, or mend the message") from None
    _, _, body = whole.partition(b"\r\n\r\n")
    return b"".join(fields) + b"\r\n" + body


def _check_field(name: str, value: object) -> None:
    if not _NAME.fullmatch(name) or _ENDED.search(str(value)):
        place = f"headers[{name[:40]!r}]"
        raise invalid(place, "a line end in it would begin another field", "take it out, or fold with a blank after it")


def _field(name: str, value: object) -> bytes:
    if hasattr(value, "fold") and name.lower().startswith("content-"):
        folded: str = value.fold(policy=SMTP)
        return folded.encode("ascii", "surrogateescape")
    text = str(value)
    was_set = isinstance(value, Header) or hasattr(value, "fold") or (not text.isascii() and text.isprintable())
    if was_set:
        return header.field_octets(name, _FOLD.sub("", text), f"headers[{name!r}]")
    text = text.replace("\r\n", "\n").replace("\n", "\r\n")
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
    for name, value, field in _fields(head + b"\r\n", "raw"):
        values.setdefault(name.decode(), []).append(value.replace(b"\r\n", b"").decode("utf-8", "replace").strip())
        if name not in _NOT_TO_TRAVEL:
            kept.append(field)
    content = b"".join(kept) + b"\r\n" + body
    encoding = "7bit" if content.isascii() else "8bit"
    try:
        return values, Part("message/rfc822", content, encoding=encoding)
    except InvalidLetter as error:
        raise invalid(
            "raw", error.problems[0].problem, "hand in a message of MIME, lines of at most 998 octets"
        ) from None


def check(octets: bytes, field: str) -> bytes:
    """Return the octets of a ready message that comes from elsewhere, if they are what `split` makes.

    Raises:
        InvalidLetter: they are no message, cannot travel, or name recipients in Bcc.
    """
    end = octets.find(b"\r\n\r\n", 0, _FIELD_MAX)
    if end < 0 or not fits(octets, "8bit"):
        raise invalid(field, "it is no message that can travel", "use Letter.from_bytes")
    for name, _, _ in _fields(octets[: end + 2], field):
        if name in _NOT_TO_TRAVEL:
            raise invalid(field, "it has a Bcc field", "use Letter.from_bytes, or name them in bcc")
    return octets


def _fields(head: bytes, place: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the name in lower case, the value and the whole of each field."""
    start = 0
    while start < len(head):
        match = _FIELD.match(head, start)
        if match is None:
            line = head[:start].count(b"\n") + 1
            raise invalid(place, f"line {line} of it is no header field", "hand in a message")
        start = match.end()
        yield match[1].lower(), match[2], match[0]


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
