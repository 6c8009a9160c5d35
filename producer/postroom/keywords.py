"""The keywords of a letter: what each may be, and what it becomes. Each function refuses with the keyword's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, ParamSpec, TypeVar, cast
from urllib.parse import quote

from postroom import ready
from postroom.address import Address, AddressesInput, Mailbox, parse_addresses, parse_mailbox
from postroom.errors import InvalidLetter, Problem, Problems, invalid
from postroom.letter_id import check_id, id_of_key, new_id
from postroom.mime import field_names, header
from postroom.mime.part import Part, make_attachment, make_inline, make_mime_part, text_part
from postroom.mime.part_rules import MOST_PARTS, WRITTEN_BY_US

P = ParamSpec("P")
Attachment = str | Path | tuple[str, bytes] | IO[bytes] | Part
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Pairs = tuple[tuple[str, str], ...]
Priority = Literal["normal", "bulk"]
OnUncertain = Literal["resend", "hold"]
Notify = Literal["never", "success", "failure", "delay"]
Ret = Literal["full", "headers"]

PRIORITIES = ("normal", "bulk")
POLICIES = ("resend", "hold")
NOTICES = ("never", "success", "failure", "delay")
RETURNS = ("full", "headers")
KEY_MAX = 256
HEADERS_MAX = 1000
TAGS_MAX = 100
URLS_MAX = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK = 1024 * 1024
_LAST_MS = 253_370_764_800_000  # the year 9999, beyond which no Date can be written
_METHOD = re.compile(r"^METHOD:([A-Za-z-]{1,40})\s*$", re.MULTILINE | re.IGNORECASE)
_URL = re.compile(r"(?:https://|mailto:)[^\x00-\x20\x7f-\x9f<>\ud800-\udfff\s]{1,900}")
_ENVID = re.compile(r"[\x20-\x7e]{1,100}")
_WORD = re.compile(r"[\w.:@+-]{1,64}", re.ASCII)
_OF_A_PART = frozenset({"content-id", "content-description", "content-disposition"})


def author(value: str | tuple[str, str] | Mailbox, field: str, *, literals: bool) -> Mailbox:
    """The From: one mailbox."""
    if value is None or value == "":
        raise invalid(field, "it is missing", "give from_=, or set POSTROOM_FROM")
    return _author(value, field, literals) if isinstance(value, str) else _mailbox(value, field, literals)


def _mailbox(value: str | tuple[str, str] | Mailbox, field: str, literals: bool) -> Mailbox:
    return parse_mailbox(value, field, allow_domain_literal=literals)


_author = lru_cache(maxsize=64)(_mailbox)
"""The letters of an application have few authors."""


def addresses(value: AddressesInput | None, field: str, *, literals: bool) -> tuple[Address, ...]:
    """Addresses of one kind: one, many, or none."""
    return () if value is None else parse_addresses(value, field, allow_domain_literal=literals)


def subject(value: str | None, field: str) -> str | None:
    """The Subject: any text of one line."""
    return None if value is None else header.check_text(value, field)


def headers(value: Headers | None, field: str) -> Pairs:
    """Further header fields, in order."""
    if value is None:
        return ()
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        raise invalid(field, f"it is {type(value).__name__}", "give a mapping, or pairs of name and value")
    pairs = _at_most(HEADERS_MAX, value.items() if isinstance(value, Mapping) else value, field)
    problems = Problems()
    seen: set[str] = set()
    for place, pair in enumerate(pairs):
        with problems.collecting():
            seen.add(_header(pair, f"{field}[{place}]", seen))
    problems.raise_if_any()
    return tuple((name, text) for name, text in pairs)


def _header(pair: tuple[str, str], field: str, seen: set[str]) -> str:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
        raise invalid(field, "it is no pair of two strings", "give (name, value)")
    name, value = pair
    key = header.check_field_name(name, field).lower()
    field = f"headers[{name!r}]"
    if key in WRITTEN_BY_US:
        raise invalid(field, "this field is not the caller's to write", WRITTEN_BY_US[key])
    if key in _OF_A_PART:
        raise invalid(field, "this field is a part's", "make the part with make_mime_part, and give it there")
    if key in seen and key in field_names.SINGLE:
        raise invalid(field, "it is given twice", "give it once (RFC 5322 §3.6)")
    header.field_octets(name, value, field)
    return key


def message(value: str | Part | IO[bytes] | IO[str] | None, field: str, max_octets: int) -> Part | None:
    """The body: a text, a file with the text, or a part."""
    if value is None or isinstance(value, Part):
        return value
    if not isinstance(value, str):
        value = _read(value, field, max_octets)
    return _renamed(field, text_part, value)


def html(value: str | Part | None, field: str) -> Part | None:
    """The body in HTML."""
    if value is None or isinstance(value, Part):
        return value
    if not isinstance(value, str):
        raise invalid(field, f"it is {type(value).__name__}", "give a str, or a part")
    return _renamed(field, text_part, value, "text/html")


def ready_message(value: Part | None, field: str) -> Part | None:
    """A whole message, to be sent as it is."""
    if value is None:
        return None
    if not isinstance(value, Part) or value.content_type != "message/rfc822":
        raise invalid(field, "it is no message/rfc822 part", "use Letter.from_bytes")
    if isinstance(value.content, bytes):
        ready.check(value.content, field)
    return value


def flag(value: bool, field: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise invalid(field, f"it is {type(value).__name__}", "give True or False")
    return value


def calendar(value: str | bytes | Part | None, field: str) -> Part | None:
    """An invitation: the text of an .ics file, which says its method itself (RFC 5546, RFC 6047 §2.4)."""
    if isinstance(value, Part) and value.content_type != "text/calendar":
        raise invalid(field, f"it is a {value.content_type} part", "give one of text/calendar, or attach it")
    if value is None or isinstance(value, Part):
        return value
    text = _decoded(value, field) if isinstance(value, bytes) else value
    if not isinstance(text, str) or not text.lstrip("\ufeff\r\n ").upper().startswith("BEGIN:VCALENDAR"):
        raise invalid(field, "it does not begin with BEGIN:VCALENDAR", "give the text of an .ics file")
    method = _METHOD.search(text)
    parameters = {"method": method[1].upper()} if method else {}
    return _renamed(field, make_mime_part, text, content_type="text/calendar", parameters=parameters)


def list_unsubscribe(value: str | Iterable[str] | None, field: str) -> Pairs:
    """The header fields by which a reader's program unsubscribes (RFC 2369 §3.2), at one click if it can (RFC 8058)."""
    if value is None:
        return ()
    given: Iterable[str] = (value,) if isinstance(value, str) else value
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise invalid(field, f"it is {type(value).__name__}", "give a URL, or a list of them")
    urls = [_unsubscribe_url(each, field) for each in _at_most(URLS_MAX, given, field)]
    if not urls:
        return ()
    pairs = [("List-Unsubscribe", ", ".join(f"<{url}>" for url in urls))]
    if any(url.startswith("https:") for url in urls):
        pairs.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    return tuple(pairs)


def _unsubscribe_url(value: str, field: str) -> str:
    if not isinstance(value, str) or not _URL.fullmatch(value):
        problem = f"{shown(value)} is no https: or mailto: URL"
        raise invalid(field, problem, "give one, blanks and the like percent-encoded")
    return quote(value, safe="!#$%&'()*+,/:;=?@[]~._-")


def _read(value: Any, field: str, max_octets: int) -> str:
    if not callable(getattr(value, "read", None)):
        raise invalid(field, f"it is {type(value).__name__}", "give a str, a part, or an open file")
    octets = bytearray()
    while block := _block(value, field):
        # What no file with the right encoding gives is found when all is decoded.
        octets += block.encode("utf-8", "surrogatepass") if isinstance(block, str) else block
        if len(octets) > max_octets:
            raise invalid(field, f"it is longer than {max_octets} octets", "send less, or a link")
    return _decoded(bytes(octets), field)


def _block(file: Any, field: str) -> str | bytes:
    try:
        block = file.read(_BLOCK)
    except UnicodeDecodeError:
        raise invalid(field, "it is not in the encoding it was opened with", "open it with the right one") from None
    except (OSError, ValueError) as error:
        raise invalid(field, f"it cannot be read: {error}", "give an open, readable file") from None
    if not isinstance(block, str | bytes):
        raise invalid(field, f"it gives {type(block).__name__}", "give a file that is open for reading")
    return block


def _decoded(octets: bytes, field: str) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(field, f"octet {error.start} is not UTF-8", "decode it yourself, and give a str") from None


def _renamed(field: str, make: Callable[P, Part], *args: P.args, **kwargs: P.kwargs) -> Part:
    """The part that `make` makes of these; what it complains of is the letter's field."""
    try:
        return make(*args, **kwargs)
    except InvalidLetter as error:
        raise InvalidLetter(Problem(field, each.problem, each.remedy) for each in error.problems) from None


def attachments(value: Attachment | Iterable[Attachment], field: str, max_octets: int) -> tuple[Part, ...]:
    """Paths, pairs, open files or parts; one, or many."""
    if value == ():
        return ()
    one = isinstance(value, str | Path | Part) or hasattr(value, "read")
    if not one and isinstance(value, tuple) and len(value) == 2:
        one = isinstance(value[1], bytes | bytearray | memoryview)
    if one:
        value = [cast("Attachment", value)]
    if isinstance(value, bytes | bytearray | memoryview | Mapping) or not isinstance(value, Iterable):
        raise invalid(
            field, f"it is {type(value).__name__}", "give a list of paths, (file name, octets) pairs or parts"
        )
    problems = Problems()
    parts = []
    for place, item in enumerate(_at_most(MOST_PARTS, value, field)):
        with problems.collecting():
            # What it is not, by its type, `make_attachment` refuses.
            parts.append(make_attachment(cast("Attachment", item), f"{field}[{place}]", max_octets))
    problems.raise_if_any()
    return tuple(parts)


def inline(value: Mapping[str, Attachment] | None, field: str, max_octets: int) -> tuple[Part, ...]:
    """What the html shows, by content id."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise invalid(field, f"it is {type(value).__name__}", "give a mapping of cid to path, pair or part")
    problems = Problems()
    parts = []
    for cid, item in value.items():
        with problems.collecting():
            parts.append(make_inline(cid, item, f"{field}[{shown(cid)}]", max_octets))
    problems.raise_if_any()
    return tuple(parts)


def reverse_path(value: str | None, field: str, *, literals: bool) -> str | None:
    """Where reports of failure return: an address, or the null reverse-path."""
    if value is None or value in ("", "<>"):
        return None if value is None else ""
    return parse_mailbox(value, field, allow_domain_literal=literals).address


def name_of_relay(value: str | None, field: str) -> str | None:
    """The name of a relay."""
    return None if value is None else word(value, field)


def word(value: str, field: str) -> str:
    """A tag, or another word that ends up in keys and lists."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise invalid(field, f"{shown(value)} is no word", "use 1 to 64 ASCII letters, digits, and _ . : @ + -")
    return value


def tags(value: str | Iterable[str], field: str) -> tuple[str, ...]:
    """Words to find letters by, each once."""
    if value == ():
        return ()
    if isinstance(value, bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise invalid(field, f"it is {type(value).__name__}", "give a list of words")
    words = [value] if isinstance(value, str) else _at_most(TAGS_MAX, value, field)
    return tuple(dict.fromkeys(word(each, field) for each in words))


def moment_ms(value: datetime | int | None, field: str) -> int | None:
    """A moment, in milliseconds since 1970."""
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise invalid(field, "it has no time zone", "give an aware datetime, such as datetime.now(UTC)")
        value = (value - _EPOCH) // timedelta(milliseconds=1)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(field, f"it is {type(value).__name__}", "give an aware datetime")
    if not 0 <= value < _LAST_MS:
        raise invalid(field, "it is before 1970 or after 9998", "give a moment between")
    return value


def span_ms(value: float | timedelta | None, field: str) -> int:
    """A span of time, in milliseconds; 0 for none."""
    if value is None:
        return 0
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, f"it is {type(value).__name__}", "give seconds, or a timedelta")
    if not 0 < value < _LAST_MS / 1000:  # NaN is neither
        raise invalid(field, "it is no span of time", "give a number of seconds above 0, less than 8000 years")
    return max(1, round(value * 1000))


def one_of(choices: tuple[str, ...]) -> Callable[[str, str], str]:
    """Return the check for one of these words."""

    def check(value: str, field: str) -> str:
        if value not in choices:
            raise invalid(field, f"{shown(value)} is unknown", f"use {' or '.join(map(repr, choices))}")
        return value

    return check


def notify(value: str | Iterable[str] | None, field: str) -> tuple[str, ...]:
    """When reports of delivery are asked for (NOTIFY, RFC 3461 §4.1): each word once, in a fixed order."""
    if value is None:
        return ()
    if isinstance(value, bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise invalid(field, f"it is {type(value).__name__}", "give one of its words, or a list of them")
    check = one_of(NOTICES)
    asked = {check(each, field) for each in ([value] if isinstance(value, str) else _at_most(TAGS_MAX, value, field))}
    if "never" in asked and len(asked) > 1:
        raise invalid(field, "it is never, and something else", "give 'never' alone, or leave it out")
    return tuple(each for each in NOTICES if each in asked)


def ret(value: str | None, field: str) -> str | None:
    """What of the letter a report of failure returns (RET, RFC 3461 §4.3)."""
    return None if value is None else one_of(RETURNS)(value, field)


def envid(value: str | None, field: str) -> str | None:
    """What reports name the letter by (ENVID, RFC 3461 §4.4)."""
    if value is None or (isinstance(value, str) and _ENVID.fullmatch(value)):
        return value
    raise invalid(field, f"{shown(value)} cannot stand in a report", "use 1 to 100 printable ASCII characters")


def key(value: str | None, field: str) -> str | None:
    """An idempotency key."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= KEY_MAX:
        raise invalid(field, "it is no string of 1 to 256 characters", "give such a string")
    return header.check_text(value, field)


def identity(value: tuple[str | None, str | None, int], field: str) -> str:
    """The id: given, or that of the idempotency key (which is checked), or a new one of this time."""
    given, idempotency_key, now_ms = value
    if given is not None:
        if not isinstance(given, str):
            raise invalid(field, f"it is {type(given).__name__}", "give a str, or leave it out")
        return check_id(given, field)
    return id_of_key(idempotency_key) if idempotency_key else new_id(now_ms)


def date_of(pairs: Pairs) -> int | None:
    """The moment that a Date field of the caller's gives, in milliseconds; None when there is none."""
    for name, value in pairs:
        if name.lower() == "date":
            return _date_ms(value, f"headers[{name!r}]")
    return None


def _date_ms(value: str, field: str) -> int:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        raise invalid(field, "it is no date", "write it as RFC 5322 §3.3 says") from None
    # RFC 5322 §3.3: -0000 says that the time is UTC, and nothing of the zone it was written in.
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    if f" {date.year} " not in value:
        raise invalid(field, "its year has not four digits", "write it as RFC 5322 §3.3 says")
    return moment_ms(aware, field) or 0


def shown(value: object) -> str:
    """What an error shows of a value: a text's beginning, of anything else what it is."""
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


_Item = TypeVar("_Item")


def _at_most(limit: int, items: Iterable[_Item], field: str) -> list[_Item]:
    taken = list(islice(items, limit + 1))
    if len(taken) > limit:
        raise invalid(field, f"there are more than {limit} of them", f"give at most {limit}")
    return taken
