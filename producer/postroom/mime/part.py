"""Parts: the MIME entities that a letter's content is made of (RFC 2045 §2.4).

`make_mime_part` takes what the caller knows and derives the rest from it: a text alone is enough.
Not here: the rules (`part_rules`), how a part is written (`render`) and read (`parsing`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeVar

from postroom.errors import InvalidLetter, Problem, Problems, invalid
from postroom.mime import charset as charsets
from postroom.mime import content as contents
from postroom.mime import content_type as content_types
from postroom.mime import parsing, part_arguments, part_rules, reading, render
from postroom.mime.content import Content, Wanted
from postroom.mime.part_arguments import Pairs, PairsInput
from postroom.mime.stored import Stored
from postroom.unchecked import unchecked

LARGEST_FILE: Final = 100 * 1024 * 1024
"""Octets read from one file, unless the caller wants fewer."""

_BRACKETED: Final = re.compile("<.*>")
_NO_PAIRS: Final[Pairs] = ()


@dataclass(frozen=True)
class Part:
    """One MIME entity: a leaf with content, or a multipart with subparts. What cannot be sent cannot be made.

    Raises:
        InvalidLetter: something breaks a rule; it names every problem.
    """

    content_type: str
    """Type and subtype in lower case: ``text/plain``."""
    content: bytes | Stored = b""
    """Of a leaf: its octets, decoded. Lines of text end with CRLF, but for text that travels as a file."""
    charset: str | None = None
    encoding: str | None = None
    """Of a leaf: ``7bit``, ``8bit``, ``quoted-printable`` or ``base64`` (RFC 2045 §6)."""
    parameters: Pairs = ()
    """Of the content type, beside charset and boundary."""
    headers: Pairs = ()
    """Further header fields, as people read them. They win over generated ones."""
    disposition: str | None = None
    """``inline`` or ``attachment`` (RFC 2183)."""
    name: str | None = None
    """The file name: no folders, any script."""
    content_id: str | None = None
    """Without angle brackets; html shows the part as ``cid:`` and this (RFC 2392)."""
    description: str | None = None
    subparts: tuple[Part, ...] = ()
    encoded: tuple[bytes, ...] | None = field(default=None, init=False, repr=False, compare=False)
    """Its content as it travels, kept when it is first rendered: letters that share a part encode it once."""

    def __post_init__(self) -> None:
        part_rules.check(self)

    @property
    def is_multipart(self) -> bool:
        """Whether it has subparts, and no content of its own."""
        return content_types.is_multipart(self.content_type)

    @property
    def needs_8bit(self) -> bool:
        """Whether it, or a part in it, travels as 8bit: the relay must offer 8BITMIME (RFC 6152)."""
        return any(part.encoding == "8bit" for part in self.walk())

    @property
    def size(self) -> int:
        """Octets of its own content, decoded."""
        return self.content.size if isinstance(self.content, Stored) else len(self.content)

    @property
    def text(self) -> str:
        """Its content as text, ``\\n`` at the end of a line; octets that are not of its charset become U+FFFD.

        Raises:
            ValueError: it is a multipart, or its content is kept elsewhere.
        """
        if self.is_multipart or isinstance(self.content, Stored):
            raise ValueError(f"this {self.content_type} part has no content here")
        _, codec = charsets.codec_of(self.charset or charsets.UTF_8, "charset")
        text, _ = codec.decode(self.content, "replace")
        return text.replace("\r\n", "\n")

    def walk(self) -> Iterator[Part]:
        """Yield this part and all parts in it, each before its subparts, in order."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.subparts))

    def header(self, name: str) -> str | None:
        """Return the first of its further header fields with this name, in any case; None when there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def as_bytes(self, seed: str = "") -> bytes:
        """Return it as a message: header fields, MIME-Version first, and body; lines end with CRLF.

        Args:
            seed: what boundaries derive from: the same part and seed give the same octets.

        Raises:
            ValueError: some content is kept elsewhere.
        """
        return render.joined([render.MIME_VERSION, *render.render(self, seed)])

    @classmethod
    def from_bytes(cls, raw: bytes) -> Part:
        """Return the part that a message, or another MIME entity, is.

        Raises:
            InvalidLetter: its header is too long, or it has too many parts, or too many levels of them.
        """
        return parsing.parse(raw, cls)


Attachable = str | Path | tuple[str, bytes] | IO[bytes] | Part


def make_mime_part(
    text: str | bytes | None = None,
    *,
    file: str | Path | IO[bytes] | None = None,
    subparts: Sequence[Part] | None = None,
    content_type: str | None = None,
    charset: str | None = None,
    encoding: str | None = None,
    headers: PairsInput | None = None,
    attachment: bool | None = None,
    name: str | None = None,
    disposition: str | None = None,
    parameters: PairsInput | None = None,
    content_id: str | None = None,
    description: str | None = None,
    start: int = 0,
    end: int | None = None,
    max_octets: int = LARGEST_FILE,
) -> Part:
    """Make a part of a text, a file or subparts: one of the three.

    Args:
        text: a str, or octets.
        file: the path of a regular file; or an open binary file, read now, from where it stands to its end.
        subparts: the parts of a multipart, in order.
        content_type: type and subtype. By default what the file name tells; else multipart/mixed for subparts,
            text/plain for a str, application/octet-stream.
        charset: of text; a str is encoded in it. By default utf-8; octets of a text/* body must be in it.
        encoding: how it travels: 7bit, 8bit, quoted-printable or base64. By default what serves the content best.
        headers: further header fields, a mapping or pairs, repeats allowed; they win over generated ones.
        attachment: whether it is an attachment. By default a file is.
        name: the file name. By default the file's; folders before it are dropped.
        disposition: ``inline`` or ``attachment``: ``attachment=`` in other words. By default inline for what is neither
            text nor message nor multipart, and for what has a name.
        parameters: of the content type, a mapping or pairs. ``charset`` among them is as good as ``charset=``.
        content_id: with or without angle brackets; html shows the part as ``cid:`` and this.
        description: a line of text.
        start: the first character of the str, or octet of the octets, to take.
        end: the one after the last to take. By default all are taken.
        max_octets: the most octets to read from a file.

    Line ends of text become CRLF, and a byte order mark before it is dropped. Octets and files with a disposition are
    files: they arrive as they are.

    Raises:
        InvalidLetter: arguments contradict each other, or something cannot be sent; it names every problem.
    """
    problems = Problems()
    take = partial(_attempt, problems)
    path = name if isinstance(name, str) else reading.name_of(file)
    kind = take(content_types.TEXT, part_arguments.content_type, content_type, text, file, subparts, path)
    pairs = take(_NO_PAIRS, part_arguments.pairs, parameters, "parameters")
    charset = take(None, part_arguments.charset, charset, pairs)
    disposition = take(None, part_arguments.disposition, disposition, attachment, kind, file, name)
    encoding = encoding.lower() if isinstance(encoding, str) else encoding
    wanted = Wanted(kind, content_type is None, charset, encoding, disposition is not None)
    sources = _Sources(text, file, subparts, start, end, max_octets)
    # What stands for a content that is refused, so that the other arguments are checked all the same.
    nothing = Content(content_types.TEXT, b"", None, "7bit" if encoding is None else encoding), _NO_PARTS
    content, parts = take(nothing, _content_and_subparts, sources, wanted)
    part = take(
        None,
        Part,
        *content,
        tuple(pair for pair in pairs if pair[0].lower() != "charset"),
        take(_NO_PAIRS, part_arguments.pairs, headers, "headers"),
        disposition,
        take(None, part_arguments.file_name, name, path if disposition else None),
        content_id[1:-1] if isinstance(content_id, str) and _BRACKETED.fullmatch(content_id) else content_id,
        description or None,
        parts,
    )
    if part is None or problems:
        raise InvalidLetter(problems)
    return part


def text_part(text: str, content_type: str = content_types.TEXT) -> Part:
    """Make a part of a text alone: what `make_mime_part` does of it, at less cost.

    Raises:
        InvalidLetter: it holds half a surrogate pair.
    """
    kind, octets, charset, encoding = contents.of_text(text, Wanted(content_type, False, None, None, False))
    return unchecked(Part, {"content_type": kind, "content": octets, "charset": charset, "encoding": encoding})


def make_attachment(item: Attachable, field: str, max_octets: int = LARGEST_FILE) -> Part:
    """Make a part of something to attach.

    Args:
        item: a path, a pair of file name and octets, an open binary file, or a part, which is taken as it is.
        field: the name that an error gives.
        max_octets: the most octets to read from a file.

    Raises:
        InvalidLetter: it is something else, or cannot be sent.
    """
    if isinstance(item, Part):
        return item
    return _file_part(item, field, max_octets, attachment=True)


def make_inline(content_id: str, item: Attachable, field: str, max_octets: int = LARGEST_FILE) -> Part:
    """Make a part of something that html shows.

    Args:
        content_id: the name by which the html refers to it, after ``cid:``.
        item: as for `make_attachment`; a part gets this content id.
        field: the name that an error gives.
        max_octets: the most octets to read from a file.

    Raises:
        InvalidLetter: it is something else, or cannot be sent.
    """
    if isinstance(item, Part):
        with _renamed(field):
            return replace(item, content_id=content_id, disposition="inline")
    return _file_part(item, field, max_octets, disposition="inline", content_id=content_id)


def _file_part(
    item: str | Path | tuple[str, bytes] | IO[bytes],
    field: str,
    max_octets: int,
    attachment: bool | None = None,
    disposition: str | None = None,
    content_id: str | None = None,
) -> Part:
    with _renamed(field):
        if item is None:
            raise invalid("file", "it is None", "give a path, (file name, bytes), an open binary file or a part")
        if not isinstance(item, tuple):
            return make_mime_part(
                file=item,
                attachment=attachment,
                disposition=disposition,
                content_id=content_id,
                max_octets=max_octets,
            )
        if not (len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], bytes | bytearray | memoryview)):
            raise invalid("file", "it is a tuple, but not of file name and octets", "give (file name, bytes)")
        name, octets = item
        return make_mime_part(octets, name=name, attachment=attachment, disposition=disposition, content_id=content_id)


@contextmanager
def _renamed(field: str) -> Iterator[None]:
    """Give the problems met inside the names that the caller of the caller knows."""
    try:
        yield
    except InvalidLetter as error:
        raise InvalidLetter(
            Problem(field if each.field == "file" else f"{field}.{each.field}", each.problem, each.remedy)
            for each in error.problems
        ) from None


_NO_PARTS: Final[tuple[Part, ...]] = ()


class _Sources(NamedTuple):
    text: str | bytes | None
    file: str | Path | IO[bytes] | None
    subparts: Sequence[Part] | None
    start: int
    end: int | None
    max_octets: int


_Result = TypeVar("_Result")


def _attempt(problems: Problems, otherwise: _Result, step: Callable[..., _Result], *arguments: object) -> _Result:
    """Return what the step gives; if it refuses, keep its problems, so that the caller learns of all at once."""
    try:
        return step(*arguments)
    except InvalidLetter as error:
        problems.extend(error.problems)
        return otherwise


def _content_and_subparts(sources: _Sources, wanted: Wanted) -> tuple[Content, tuple[Part, ...]]:
    text, file, subparts, start, end, max_octets = sources
    kind = wanted.content_type
    given = [name for name, each in (("text", text), ("file", file), ("subparts", subparts)) if each is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given together" if given else "there is no content"
        raise invalid(given[0] if given else "text", what, "give one of text=, file= and subparts=")
    if (start != 0 or end is not None) and text is None:
        raise invalid("start", f"there is no text to take a piece of, but {given[0]}", "leave start and end out")
    if subparts is not None:
        return Content(kind, b"", wanted.charset, wanted.encoding), _subparts(subparts, kind)
    if content_types.is_multipart(kind):
        raise invalid(given[0], f"a {kind} part has no content of its own", "give subparts=")
    if isinstance(text, str):
        return contents.of_text(contents.piece(text, start, end), wanted), ()
    if file is not None:
        return contents.of_octets(reading.read(file, max_octets, "file"), wanted), ()
    return contents.of_octets(contents.piece(part_arguments.octets(text), start, end), wanted), ()


def _subparts(given: Sequence[Part], kind: str) -> tuple[Part, ...]:
    if isinstance(given, Part | str | bytes) or not isinstance(given, Iterable):
        raise invalid("subparts", f"it is {type(given).__name__}", "give a list of parts")
    subparts = tuple(given)
    for place, each in enumerate(subparts):
        if not isinstance(each, Part):
            raise invalid(f"subparts[{place}]", f"it is {type(each).__name__}", "make a part of it: make_mime_part")
    if not content_types.is_multipart(kind):
        raise invalid("subparts", f"a {kind} part has none", "leave content_type out, or make it multipart/…")
    return subparts
