"""A letter as JSON: what the ledger keeps, and what the task ``postroom.accept`` takes.

The keys are the keywords of `Letter`; addresses are strings, and parts are objects whose octets are either ``text``
(when they are UTF-8), ``base64``, or ``stored`` (in the ledger's contents).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from postroom.errors import InvalidLetter, NewerSchema, Problem, Problems, invalid
from postroom.mime.part import Part, make_mime_part
from postroom.mime.part_rules import DEEPEST, MOST_PARTS
from postroom.mime.stored import Stored
from postroom.reply import printable

if TYPE_CHECKING:
    from postroom.letter import Letter

SCHEMA = 2
"""The newest that is read here. Each letter says the oldest that it can be read by: 1, or 2 for one of a mail-merge."""
SCHEMA_MAX = 999
"""What is beyond was written by nobody."""
SIZE_MAX = 100 * 1024 * 1024


class StoredJson(msgspec.Struct, forbid_unknown_fields=True, array_like=True, frozen=True):
    """Octets in the ledger's contents."""

    sha256: str
    size: int


class PartJson(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """A part."""

    type: str
    text: str | None = None
    base64: bytes | None = None
    stored: StoredJson | None = None
    charset: str | None = None
    encoding: str | None = None
    parameters: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    disposition: str | None = None
    name: str | None = None
    content_id: str | None = None
    description: str | None = None
    subparts: Sequence[PartJson] = ()


class LetterJson(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, kw_only=True):
    """A letter."""

    schema: int
    id: str | None = None
    date_ms: int | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | Sequence[str] = ()
    cc: str | Sequence[str] = ()
    bcc: str | Sequence[str] = ()
    reply_to: str | Sequence[str] = ()
    subject: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    message: str | PartJson | None = None
    html: str | PartJson | None = None
    text_from_html: bool = True
    calendar: str | PartJson | None = None
    ready: PartJson | None = None
    list_unsubscribe: Sequence[str] = ()
    attachments: Sequence[PartJson] = ()
    inline: Sequence[PartJson] = ()
    envelope_from: str | None = None
    notify: Sequence[str] = ()
    ret: str | None = None
    envid: str | None = None
    relay: str | None = None
    send_at_ms: int | None = None
    expires_in_ms: int = 0
    priority: str = "normal"
    idempotency_key: str | None = None
    on_uncertain: str = "resend"
    tags: Sequence[str] = ()
    template: StoredJson | None = None
    """Of a mail-merge (schema 2): a letter with fields in it, in the contents. Then there are ``fields``, and beside
    ``id`` and ``date_ms`` nothing else."""
    fields: dict[str, str] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LetterJson)


class Written(NamedTuple):
    """A letter as the ledger keeps it."""

    text: bytes
    contents: dict[str, bytes]
    """The octets that were left out of it, by digest."""
    digest: str
    """Of what the caller asked for: the same for two letters that differ but in id and date."""


class Sha256s:
    """Digests of octets: those that several letters share are read once, as long as this is kept."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes, str]] = {}

    def of(self, octets: bytes) -> str:
        """Return the digest, in hexadecimal."""
        known = self._known.get(id(octets))
        if known is None:
            known = self._known[id(octets)] = octets, hashlib.sha256(octets).hexdigest()
        return known[1]


@dataclass(frozen=True, slots=True)
class Template:
    """What the letters of a mail-merge have in common."""

    keywords: Mapping[str, Any]
    """Of `Letter`, with fields in them, as `decode` gives them."""
    written: Written
    sha256: str
    """Of its text: the worker finds it by that."""


class Merged(NamedTuple):
    """What a letter of a mail-merge was made of."""

    template: Template
    fields: Mapping[str, str]


def encode(letter: Letter) -> bytes:
    """Return the letter as JSON, with everything in it."""
    return _encoder.encode(_letter(letter, _PartWriter(Sha256s(), None), letter.id, letter.date_ms))


def write(letter: Letter, contents_over: int, sha256s: Sha256s | None = None) -> Written:
    """Return the letter as the ledger keeps it.

    Args:
        letter: what to write.
        contents_over: leave out the octets of parts that are larger than this.
        sha256s: kept from letter to letter, of those that may share octets.
    """
    if letter.merged is not None:
        return _write_merged(letter, letter.merged)
    parts = _PartWriter(sha256s or Sha256s(), contents_over)
    text = _encoder.encode(_letter(letter, parts, letter.id, letter.date_ms))
    if contents_over == _DIGEST_OVER:
        asked = text[len(_HEAD % (letter.id.encode(), letter.date_ms)) :]
    else:
        # Whatever is set there and here, one letter has one digest.
        asked = _encoder.encode(_letter(letter, replace(parts, contents_over=_DIGEST_OVER, contents={}), None, None))
        asked = asked[len(_ANY_HEAD) :]
    return Written(text, parts.contents, _digest(asked))


def _write_merged(letter: Letter, merged: Merged) -> Written:
    template, fields = merged
    written = template.written
    stored = StoredJson(template.sha256, len(written.text))
    text = LetterJson(schema=2, id=letter.id, date_ms=letter.date_ms, template=stored, fields=dict(fields))
    asked = written.digest.encode() + _encoder.encode(sorted(fields.items()))
    contents = {template.sha256: written.text, **written.contents}
    return Written(_encoder.encode(text), contents, _digest(asked))


def write_template(keywords: Mapping[str, Any], contents_over: int) -> Template:
    """Return what the letters of a mail-merge have in common, and how the ledger keeps it.

    Args:
        keywords: of `Letter`, with fields in them.
        contents_over: leave out the octets of parts that are larger than this.
    """

    def encoded(parts: _PartWriter) -> bytes:
        found = {name: _of_template(name, value, parts) for name, value in keywords.items()}
        return _encoder.encode(LetterJson(schema=2, **found))

    parts = _PartWriter(Sha256s(), contents_over)
    text = encoded(parts)
    digest = _digest(encoded(replace(parts, contents_over=_DIGEST_OVER, contents={})))
    return Template(keywords, Written(text, parts.contents, digest), hashlib.sha256(text).hexdigest())


def _of_template(name: str, value: Any, parts: _PartWriter) -> Any:
    if name == "inline":
        value = tuple(value.values())
    if name in ("attachments", "inline"):
        return tuple(map(parts.write, value))
    return parts.write(value) if isinstance(value, Part) else value


def _digest(asked: bytes) -> str:
    return hashlib.blake2b(asked, digest_size=16).hexdigest()


def decode(text: bytes | str) -> tuple[dict[str, Any], Problems]:
    """Return the keywords of `Letter` that this JSON gives, and the problems of its parts.

    In place of a part that cannot be made stands an empty one, so that the other keywords are checked all the same.

    Raises:
        NewerSchema: it was written by a newer Postroom.
        InvalidLetter: it is no such JSON: not JSON at all, unknown keys, wrong types, too deep, too large.
    """
    read = structure(text)
    if read.template is not None or read.fields:
        raise invalid("template", "it is in a ledger that is not at hand", "write the letter in whole, without fields")
    keywords = {name: value for name in _PLAIN if (value := getattr(read, name)) != _DEFAULTS[name]}
    parts = _PartReader()
    keywords |= {name: parts.body(getattr(read, name), name) for name in ("message", "html", "calendar", "ready")}
    keywords["attachments"] = tuple(
        parts.read(each, f"attachments[{place}]") for place, each in enumerate(read.attachments)
    )
    keywords["inline"] = parts.inline(read.inline)
    return keywords, parts.problems


def structure(text: bytes | str) -> LetterJson:
    """Return what this JSON says, of which nothing but names and types is checked.

    Raises:
        NewerSchema: it was written by a newer Postroom.
        InvalidLetter: it is no such JSON: not JSON at all, unknown keys, wrong types, too deep, too large.
    """
    if not isinstance(text, str | bytes | bytearray):
        raise invalid("letter", f"it is {type(text).__name__}", "give JSON, as bytes or str")
    if len(text) > SIZE_MAX:
        raise invalid("letter", f"its JSON is {len(text)} octets long", f"write at most {SIZE_MAX}")
    try:
        schema = _schema.decode(text).schema
        if SCHEMA < schema <= SCHEMA_MAX:
            raise NewerSchema(schema, SCHEMA)
        read = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, MemoryError) as error:
        raise invalid(
            "letter", printable(f"it cannot be read: {error}"), "write JSON as docs/letter-json.md says"
        ) from None
    if not 1 <= read.schema <= SCHEMA:
        raise invalid("schema", f"{read.schema} is no schema", "write 1")
    return read


class _Schema(msgspec.Struct):
    schema: int


_schema = msgspec.json.Decoder(_Schema)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST_OVER = 64 * 1024
_ANY_HEAD = b'{"schema":1,'
_HEAD = _ANY_HEAD + b'"id":"%s","date_ms":%d,'
_PARTS = ("message", "html", "calendar", "ready", "attachments", "inline")
_PLAIN = tuple(name for name in LetterJson.__struct_fields__ if name not in ("schema", "template", "fields", *_PARTS))
_DEFAULTS = {name: getattr(LetterJson(schema=1), name) for name in _PLAIN}


@dataclass(frozen=True, slots=True)
class _PartWriter:
    """Writes parts, leaving large octets out into `contents`."""

    sha256s: Sha256s
    contents_over: int | None
    contents: dict[str, bytes] = field(default_factory=dict)

    def write(self, part: Part) -> PartJson:
        text, octets, stored = self._octets(part.content)
        return PartJson(
            type=part.content_type,
            text=text,
            base64=octets,
            stored=stored,
            charset=part.charset,
            encoding=part.encoding,
            parameters=part.parameters,
            headers=part.headers,
            disposition=part.disposition,
            name=part.name,
            content_id=part.content_id,
            description=part.description,
            subparts=tuple(self.write(each) for each in part.subparts),
        )

    def _octets(self, content: bytes | Stored) -> tuple[str | None, bytes | None, StoredJson | None]:
        if isinstance(content, Stored):
            return None, None, StoredJson(content.sha256, content.size)
        if self.contents_over is not None and len(content) > self.contents_over:
            sha256 = self.sha256s.of(content)
            self.contents[sha256] = content
            return None, None, StoredJson(sha256, len(content))
        if not content:
            return None, None, None
        try:
            return content.decode("utf-8"), None, None
        except UnicodeDecodeError:
            return None, content, None


def _letter(letter: Letter, parts: _PartWriter, letter_id: str | None, date_ms: int | None) -> LetterJson:
    return LetterJson(
        schema=1,
        id=letter_id,
        date_ms=date_ms,
        from_=str(letter.from_),
        to=tuple(map(str, letter.to)),
        cc=tuple(map(str, letter.cc)),
        bcc=tuple(map(str, letter.bcc)),
        reply_to=tuple(map(str, letter.reply_to)),
        subject=letter.subject,
        headers=letter.headers,
        message=None if letter.message is None else parts.write(letter.message),
        html=None if letter.html is None else parts.write(letter.html),
        text_from_html=letter.text_from_html,
        calendar=None if letter.calendar is None else parts.write(letter.calendar),
        ready=None if letter.ready is None else parts.write(letter.ready),
        attachments=tuple(map(parts.write, letter.attachments)),
        inline=tuple(map(parts.write, letter.inline)),
        envelope_from=letter.envelope_from,
        notify=letter.notify,
        ret=letter.ret,
        envid=letter.envid,
        relay=letter.relay,
        send_at_ms=letter.send_at_ms,
        expires_in_ms=letter.expires_in_ms,
        priority=letter.priority,
        idempotency_key=letter.idempotency_key,
        on_uncertain=letter.on_uncertain,
        tags=letter.tags,
    )


_NOTHING = Part("text/plain", encoding="7bit")
_IN_PLACE = {
    "calendar": Part("text/calendar", encoding="7bit"),
    "ready": Part("message/rfc822", b"Subject: \r\n\r\n", encoding="7bit"),
}


class _PartReader:
    """Makes parts, and keeps what is wrong with them."""

    def __init__(self) -> None:
        self.problems = Problems()
        self._count = 0

    def body(self, read: str | PartJson | None, field: str) -> str | Part | None:
        if not isinstance(read, PartJson):
            return read
        before = len(self.problems)
        part = self.read(read, field)
        return part if len(self.problems) == before else _IN_PLACE.get(field, part)

    def inline(self, read: Sequence[PartJson]) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        for place, each in enumerate(read):
            field = f"inline[{place}]"
            part = self.read(each, field)
            name = each.content_id
            if not name or name in parts:
                problem = "it is missing, or another's"
                self.problems.append(Problem(f"{field}.content_id", problem, "give each its own"))
            else:
                parts[name] = part
        return parts

    def read(self, read: PartJson, field: str, level: int = 1) -> Part:
        """Return the part, or an empty one."""
        self._count += 1
        if level > DEEPEST or self._count > MOST_PARTS:
            what = f"{DEEPEST} levels of parts" if level > DEEPEST else f"{MOST_PARTS} parts"
            top = field.partition(".")[0]
            if self._count <= MOST_PARTS + 1:
                self.problems.append(Problem(top, f"there are more than {what}", "send several letters"))
            return _NOTHING
        before = len(self.problems)
        subparts = []
        for place, each in enumerate(read.subparts):
            subparts.append(self.read(each, f"{field}.subparts[{place}]", level + 1))
        if len(self.problems) > before:
            return _NOTHING
        try:
            return _part(read, tuple(subparts))
        except InvalidLetter as error:
            self.problems.extend(Problem(f"{field}.{each.field}", each.problem, each.remedy) for each in error.problems)
            return _NOTHING


def _part(read: PartJson, subparts: tuple[Part, ...]) -> Part:
    given = [each for each in (read.text, read.base64, read.stored) if each is not None]
    if len(given) > 1:
        raise invalid("text", "there is more than one of text, base64 and stored", "give one")
    content: bytes | Stored = b""
    if read.text is not None:
        content = read.text.encode()
    elif read.base64 is not None:
        content = read.base64
    elif read.stored is not None:
        content = _stored(read.stored)
    if isinstance(content, bytes) and read.encoding is None and not subparts:
        return _made(read, content)
    return Part(
        content_type=read.type,
        content=content,
        charset=read.charset,
        encoding=read.encoding,
        parameters=tuple(read.parameters),
        headers=tuple(read.headers),
        disposition=read.disposition,
        name=read.name,
        content_id=read.content_id,
        description=read.description,
        subparts=subparts,
    )


def _made(read: PartJson, octets: bytes) -> Part:
    """A part that leaves to us how it travels, as one does that another program wrote."""
    # With a disposition it is a file, whose line ends are its own.
    return make_mime_part(
        octets if read.text is None or read.disposition else read.text,
        content_type=read.type,
        charset=read.charset,
        parameters=read.parameters,
        headers=read.headers,
        disposition=read.disposition,
        name=read.name,
        content_id=read.content_id,
        description=read.description,
    )


def _stored(read: StoredJson) -> Stored:
    if not _SHA256.fullmatch(read.sha256) or not 0 <= read.size <= SIZE_MAX:
        raise invalid("stored", "it is no digest in hexadecimal and a size", "write what Postroom wrote")
    return Stored(read.sha256, read.size)
