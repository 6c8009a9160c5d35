"""Header fields as octets (RFC 5322 §2.2): the one door for everything that reaches a header.

Each function returns a whole field with its CRLF, folded, and refuses what could end the field or begin another.
Text goes in as people read it; what looks like an encoded word is such text, and is encoded.

Not here: which fields a letter has, and how often (`letter`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from postroom.address import Address, Mailbox, extract_addresses
from postroom.errors import invalid
from postroom.mime.encoded_word import encode_words
from postroom.mime.field_names import ADDRESS, STRUCTURED, TEXT
from postroom.mime.folding import LINE, LONGEST_LINE, fold, fold_list, fold_words, room_left, units
from postroom.mime.parameter import check_attribute, check_token, spell
from postroom.mime.quoted_string import quoted_string

TEXT_LIMIT = 10_000
"""Characters of one value. In any script the field stays below the 102,400 octets that Postfix keeps of one."""

_LONGEST_NAME = 76

_FIELD_NAME = re.compile(r"[!-9;-~]+")
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_UNFIT_NAMES = {"\r": "a carriage return", "\n": "a line feed", "\x00": "a NUL"}

# The words at the start of a text that can stand as they are: printable ASCII that does not look like an encoded
# word, not longer than a line, with few blanks between and none at an end of the text. And the same, read backwards.
_PLAIN_WORDS = r"(?:(?![^ ]{71})(?:[!-<>-~]++|=(?!\?))++(?: {1,6}+(?! |\Z)|\Z))*+"
_PLAIN_START = re.compile(_PLAIN_WORDS)
_PLAIN_END_REVERSED = re.compile(_PLAIN_WORDS.replace(r"[!-<>-~]++|=(?!\?)", r"[!->@-~]++|\?(?!=)"))

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+")
# A name's first encoded word stands on the line that the field's name begins.
_LONGEST_PHRASE_WORD = LINE - len("Resent-Reply-To: ")


@lru_cache(maxsize=512)
def check_field_name(name: str, field: str) -> str:
    """Return `name` if it can name a header field: printable ASCII without a colon, at most 76 characters.

    Raises:
        InvalidLetter: it cannot (RFC 5322 §2.2).
    """
    if len(name) > _LONGEST_NAME or not _FIELD_NAME.fullmatch(name):
        raise invalid(
            field, f"{name[:40]!r} is no name of a header field", "use ASCII letters, digits and hyphens, 76 at most"
        )
    return name


def check_text(text: str, field: str, limit: int = TEXT_LIMIT) -> str:
    """Return `text` if a header field may hold it: one line of text. The tab is the only control allowed.

    Args:
        text: as people read it, not encoded.
        field: the name that an error gives.
        limit: the most characters.

    Raises:
        InvalidLetter: it is no str, is too long, or holds a line end, another control (U+0000–001F, U+007F–009F) or
            half a surrogate pair; the error names the first one and its index.
    """
    if not isinstance(text, str):
        raise invalid(field, f"it is {type(text).__name__}, not str", "give text")
    if len(text) > limit:
        raise invalid(field, f"it has {len(text)} characters", f"shorten it to {limit}")
    if (text.isascii() and text.isprintable()) or (unfit := _UNFIT.search(text)) is None:
        return text
    character = unfit[0]
    if character >= "\ud800":
        what, remedy = "half a surrogate pair", "decode the text rightly before you hand it in"
    else:
        what, remedy = _UNFIT_NAMES.get(character, "a control character"), "take it out: a header field is one line"
    raise invalid(field, f"it holds {what} (U+{ord(character):04X}) at index {unfit.start()}", remedy)


def unstructured(name: str, text: str, field: str = "") -> bytes:
    """Return a field of free text, such as Subject. Reading it gives back `text`, character by character.

    From the first to the last word that needs it the text is in encoded words (RFC 2047); the rest stays readable.

    Args:
        name: the field's name.
        text: any text that passes `check_text`; may be empty.
        field: the name that an error gives; the field's own, if empty.

    Raises:
        InvalidLetter: the name or the text cannot stand in a header.
    """
    field = field or name
    check_field_name(name, field)
    check_text(text, field)
    line = f"{name}: {text}"
    if len(line) <= LINE and text.isascii() and text.isprintable() and "=?" not in text and text == text.strip(" "):
        return f"{line}\r\n".encode()
    return f"{_folded_text(name, text)}\r\n".encode()


def structured(name: str, value: str, field: str = "") -> bytes:
    """Return a field that programs read, such as References: folded only where it has white space, never encoded.

    Args:
        name: the field's name.
        value: ASCII; white space at its ends is dropped.
        field: the name that an error gives; the field's own, if empty.

    Raises:
        InvalidLetter: the name or the value cannot stand in a header, or the value is empty, not ASCII, or has a
            word that exceeds a line of 998 octets (RFC 5322 §2.1.1).
    """
    field = field or name
    check_field_name(name, field)
    value = check_text(value, field).strip(" \t")
    if not value:
        raise invalid(field, "it is empty", "leave the field out")
    if not value.isascii():
        raise invalid(field, "programs read it, and it is not ASCII", "percent-encode URLs, and drop other such text")
    line = f"{name}: {value}"
    if len(line) > LINE:
        pieces = units(f" {value}")
        if (longest := max(map(len, pieces))) > LONGEST_LINE:
            raise invalid(field, f"a word in it has {longest} characters", f"no line may exceed {LONGEST_LINE}")
        line = fold(f"{name}:", pieces)
    return f"{line}\r\n".encode()


def address_list(name: str, addresses: Sequence[Address], field: str = "") -> bytes:
    """Return a field of mailboxes and groups, such as To (RFC 5322 §3.4).

    Names are atoms, a quoted string or encoded words, which hold no separator. An address that is not ASCII stands in
    UTF-8 (RFC 6532): the letter then needs SMTPUTF8.

    Args:
        name: the field's name.
        addresses: one at least; their addresses as `address` makes them.
        field: the name that an error gives; the field's own, if empty.

    Raises:
        InvalidLetter: the name of the field or of an address cannot stand in a header, or there is no address.
    """
    field = field or name
    check_field_name(name, field)
    return _comma_list(name, list(_items(addresses, field)), field)


def parameterized(name: str, value: str, parameters: Sequence[tuple[str, str]], field: str = "") -> bytes:
    """Return a field of a token and parameters: Content-Type, Content-Disposition (RFC 2045 §5.1, RFC 2183).

    A parameter is a token, a quoted string, or extended (RFC 2231); an extended file name is followed by a likeness
    in ASCII for readers that know only the older forms.

    Args:
        name: the field's name.
        value: a token, or two with a slash between.
        parameters: pairs (attribute, text), in the order wanted.
        field: the name that an error gives; the field's own, if empty.

    Raises:
        InvalidLetter: a token or a text cannot stand there, or a parameter is given twice.
    """
    field = field or name
    check_field_name(name, field)
    for token in value.split("/", 1):
        check_token(token, field)
    items = [value]
    given = set()
    for attribute, text in parameters:
        key = check_attribute(attribute, field).lower()
        if key in given:
            raise invalid(field, f"the parameter {attribute} is given twice", "give it once")
        given.add(key)
        items += spell(attribute, check_text(text, field))
    return f"{fold_list(name, items, ';')}\r\n".encode()


def field_octets(name: str, value: str, field: str = "") -> bytes:
    """Return any field, written as its name asks for.

    A field of an unknown name is taken for one that programs read while its value allows that (``X-Campaign: 4711``),
    and for text otherwise.

    Args:
        name: the field's name.
        value: its text, as people read it; of an address field the whole list.
        field: the name that an error gives; the field's own, if empty.

    Raises:
        InvalidLetter: the name or the value cannot stand in a header, or the value is not what the name asks for.
    """
    field = field or name
    key = check_field_name(name, field).lower()
    if key in ADDRESS:
        return address_list(name, extract_addresses(value, field), field)
    if key in STRUCTURED:
        return structured(name, value, field)
    if key == "keywords":
        phrases = map(str.strip, check_text(value, field).split(","))
        return _comma_list(name, [_phrase(phrase) for phrase in phrases if phrase], field)
    if key not in TEXT and _programs_can_read(value):
        return structured(name, value, field)
    return unstructured(name, value, field)


def _programs_can_read(value: str) -> bool:
    return (
        value.isascii()
        and "=?" not in value
        and value == value.strip(" \t") != ""
        and max(map(len, units(value))) < LONGEST_LINE
    )


def _folded_text(name: str, text: str) -> str:
    """Return the field without its CRLF: plain words, encoded words, plain words, each as far as there are any."""
    head = f"{name}:"
    start = _plain_length(_PLAIN_START, text)
    end = len(text) - _plain_length(_PLAIN_END_REVERSED, text[::-1])
    first_word = text.partition(" ")[0]
    if len(first_word) >= room_left(head):
        # Folded before its first word, a text gains a blank with some readers (measured: Python's).
        start, end = 0, max(end, len(first_word))
    if start >= end:
        return fold_words(head, text)
    before, after = text[:start].rstrip(" "), text[end:].lstrip(" ")
    start = len(before) + 1 if before else 0
    end = len(text) - len(after) - 1 if after else len(text)
    head = fold_words(head, before)
    words = encode_words(text[start:end], room_left(head) - 1)
    return fold_words(fold(head, [f" {word}" for word in words]), after)


def _plain_length(words: re.Pattern[str], text: str) -> int:
    found = words.match(text)
    return found.end() if found else 0


def _comma_list(name: str, items: Sequence[str], field: str) -> bytes:
    if not items:
        raise invalid(field, "it is empty", "leave the field out")
    return f"{fold_list(name, items, ',')}\r\n".encode()


def _items(addresses: Sequence[Address], field: str) -> Iterator[str]:
    for address in addresses:
        if isinstance(address, Mailbox):
            yield _mailbox(address, field)
            continue
        phrase = _phrase(check_text(address.name, field))
        members = ", ".join(_mailbox(member, field) for member in address.members)
        # RFC 2047 §5 (3): white space parts an encoded word from a special.
        yield f"{phrase}{' ' if phrase.endswith('?=') else ''}: {members};"


def _mailbox(mailbox: Mailbox, field: str) -> str:
    address = check_text(mailbox.address, field)
    return f"{_phrase(check_text(mailbox.name, field))} <{address}>" if mailbox.name else address


@lru_cache(maxsize=1024)
def _phrase(name: str) -> str:
    """Return a display name as atoms, as a quoted string, or in encoded words."""
    plain = name if _ATOMS.fullmatch(name) and "=?" not in name else quoted_string(name)
    if plain and max(map(len, plain.split(" "))) <= _LONGEST_PHRASE_WORD:
        return plain
    return " ".join(encode_words(name, _LONGEST_PHRASE_WORD))
