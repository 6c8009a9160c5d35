"""What is in a letter, for looking at: its header, a text to read, and its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from postroom.cli import output
from postroom.errors import InvalidLetter
from postroom.mime import plain_text
from postroom.mime.encoded_word import decode_header
from postroom.mime.part import Part

_FIELD_END = re.compile(r"\r\n(?![ \t])")
_LINES_MAX = 25
_TEXT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A part that is no multipart."""

    content_type: str
    name: str
    octets: int


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a letter."""

    header: tuple[tuple[str, str], ...]
    """Names and values, unfolded, encoded words decoded."""
    text: str
    """Of the first part that can be read as text, cut; empty when there is none."""
    parts: tuple[Piece, ...]


def content_of(octets: bytes) -> Content:
    """Return what is in a message.

    Args:
        octets: as it goes over the wire.
    """
    header = tuple(_fields(octets.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")))
    try:
        leaves = [part for part in Part.from_bytes(octets).walk() if not part.is_multipart]
    except InvalidLetter:  # a message that came ready may be stranger than what we would read
        return Content(header, "", ())
    return Content(
        header,
        _text(leaves)[:_TEXT_MAX],
        tuple(Piece(each.content_type, each.name or "", each.size) for each in leaves),
    )


def _fields(head: str) -> Iterator[tuple[str, str]]:
    for line in _FIELD_END.split(head):
        name, _, value = line.partition(":")
        yield name, decode_header(value.strip())


def _text(leaves: list[Part]) -> str:
    readable = [part for part in leaves if part.disposition != "attachment"]
    for part in readable:
        if part.content_type == "text/plain":
            return part.text
    for part in readable:
        if part.content_type == "text/html":
            return plain_text.from_html(part.text) or ""
    return ""


def content_view(content: Content) -> Group:
    """Return a letter's content: header, text and parts, all as data, long texts cut."""
    header = output.grid()
    for name, value in content.header:
        header.add_row(output.data(name), output.data(value))
    lines = content.text.rstrip().split("\n")
    text = [output.data(line) for line in lines[:_LINES_MAX]]
    if len(lines) > _LINES_MAX:
        text.append(Text(f"… and {len(lines) - _LINES_MAX:,} more lines", "dim"))
    parts: list[RenderableType] = [Text(""), _parts(content)] if len(content.parts) > 1 else []
    return Group(header, Text(""), *text, *parts)


def _parts(content: Content) -> Table:
    table = output.columns("part", "octets", "name")
    table.columns[1].justify = "right"
    for each in content.parts:
        table.add_row(output.data(each.content_type), f"{each.octets:,}", output.data(each.name))
    return table
