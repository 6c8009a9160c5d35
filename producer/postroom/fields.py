"""Fields of a mail-merge: ``{name}`` in the keywords of a letter, and what stands there for one recipient.

What a field says is data wherever it goes: in html it is escaped, in a URL percent-encoded; as a name or an address it
is checked as one, so that no value adds a recipient; and what reaches a header is one line. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import quote

from postroom.address import Mailbox, split_name
from postroom.errors import InvalidLetter, Problem, invalid

Fields = Mapping[str, str]
"""What stands for each field, by its name."""

NAME_MAX = 64
_FIELD = re.compile(rf"\{{\{{|\}}\}}|\{{([A-Za-z_][A-Za-z0-9_]{{0,{NAME_MAX - 1}}})\}}")
"""A field; or one brace, written twice. Any other brace is itself, as in a style sheet."""


def names(keywords: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the fields that stand in these keywords of a letter."""
    texts = [text for name in _INSERT if (value := keywords.get(name)) is not None for text in _texts(value)]
    return frozenset(found[1] for text in texts for found in _FIELD.finditer(text) if found[1])


def filled(keywords: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the keywords with what the fields say in them.

    Args:
        keywords: of `Letter`; addresses, header fields and URLs as sequences. Parts stay as they are.
        fields: by name; there may be more than are needed.

    Raises:
        InvalidLetter: a field is missing.
    """
    found = dict(keywords)
    for name, insert in _INSERT.items():
        if (value := found.get(name)) is not None:
            found[name] = insert(value, fields)
    return found


def missing_field(name: str) -> Problem:
    """Return the problem that a field is not there."""
    return Problem("fields", f"there is no field {name!r}", f"give one; or write {{{{{name}}}}} to say {{{name}}}")


def _inserted(text: str, fields: Fields, write: Callable[[str], str] = str) -> str:
    form, needed = _form(text)
    for name in needed:
        if name not in fields:
            raise InvalidLetter([missing_field(name)])
    return form.format_map({name: write(fields[name]) for name in needed})


@lru_cache(maxsize=32)
def _form(text: str) -> tuple[str, tuple[str, ...]]:
    """The text as Python's own `str.format_map` fills it in, and the fields in it: read once for all letters."""
    pieces, fields, end = [], [], 0
    for found in _FIELD.finditer(text):
        pieces.append(_literal(text[end : found.start()]))
        pieces.append(found[0])  # a field; or two braces, which are one to Python too
        fields += [found[1]] if found[1] else []
        end = found.end()
    return "".join([*pieces, _literal(text[end:])]), tuple(dict.fromkeys(fields))


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _text(value: Any, fields: Fields) -> Any:
    return _inserted(value, fields) if isinstance(value, str) else value


def _html(value: Any, fields: Fields) -> Any:
    return _inserted(value, fields, escape) if isinstance(value, str) else value


def _urls(value: Sequence[str], fields: Fields) -> list[str]:
    return [_inserted(each, fields, lambda text: quote(text, safe="")) for each in value]


def _headers(value: Sequence[tuple[str, str]], fields: Fields) -> list[tuple[str, str]]:
    return [(name, _inserted(text, fields)) for name, text in value]


def _addresses(value: Sequence[str], fields: Fields) -> list[str | Mailbox]:
    return [_address(each, fields) for each in value]


def _address(text: str, fields: Fields) -> str | Mailbox:
    parted = _parted(text)
    return Mailbox(_inserted(parted[1], fields), _inserted(parted[0], fields)) if parted else text


@lru_cache(maxsize=32)
def _parted(text: str) -> tuple[str, str] | None:
    """Name and address, parted before anything is inserted: what a field says parts nothing. None without a field."""
    if not _FIELD.search(text):
        return None
    if text.rstrip(" ").endswith(";"):
        raise invalid("to", "there is a field in a group", "give the mailboxes one by one")
    return split_name(text.strip(" "), "to")


_INSERT: dict[str, Callable[[Any, Fields], Any]] = {
    **dict.fromkeys(("to", "cc", "bcc", "reply_to"), _addresses),
    **dict.fromkeys(("subject", "message", "envelope_from", "idempotency_key"), _text),
    "html": _html,
    "headers": _headers,
    "list_unsubscribe": _urls,
}
"""Where fields may stand, and how each is written there."""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)
