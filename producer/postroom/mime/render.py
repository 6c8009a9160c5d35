"""Rendering: from a part to its octets, header fields and body (RFC 2045 §3, RFC 2046 §5.1.1). Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from postroom.errors import invalid
from postroom.mime import header, transfer_encoding
from postroom.mime.part_arguments import Pairs
from postroom.mime.stored import Stored

if TYPE_CHECKING:
    from postroom.mime.part import Part

MIME_VERSION: Final = b"MIME-Version: 1.0\r\n"

Read = Callable[[Stored], bytes]

_BOUNDARY: Final = "=_{:0>32}"
"""No quoted-printable and no base64 has its first two characters together (RFC 2045 §6.7). All have one length, so
that none begins another."""

_ANY_BOUNDARY: Final = _BOUNDARY.format(0)
_DELIMITER_START: Final = b"--=_"

_KEPT_MOST: Final = 4 * 1024 * 1024
"""Octets of one content that are kept encoded."""

_KEPT_TOGETHER: Final = 32 * 1024 * 1024
"""Octets of encoded contents that are kept together, of those that letters name by digest."""


def render(part: Part, seed: str, read: Read | None = None) -> list[bytes]:
    """Return a part as the body of a message: its header fields, without MIME-Version, and its body.

    Args:
        part: what to write.
        seed: what boundaries derive from: the same part and seed give the same octets.
        read: gives the octets of content that is kept elsewhere.

    Returns:
        Chunks to be joined, or written one after the other. Lines end with CRLF, the last one too.

    Raises:
        InvalidLetter: content that is kept elsewhere is not fit for the encoding that the part names.
        ValueError: there is such content, and no `read`.
    """
    chunks = _entity(part, seed, "", read).chunks
    if chunks[-1] and not chunks[-1].endswith(b"\r\n"):
        # A text without a line end at its end must not gain one where the encoding can say so.
        chunks.append(b"=\r\n" if part.encoding == "quoted-printable" else b"\r\n")
    return chunks


def joined(chunks: list[bytes]) -> bytes:
    """Return the chunks as one, and empty their list, so that large content is not in memory twice."""
    buffer = BytesIO()
    chunks.reverse()
    while chunks:
        buffer.write(chunks.pop())
    return buffer.getvalue()


class _Kept:
    """The encoded contents used last: letters that name the same content by its digest encode it once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._bodies: OrderedDict[tuple[str, str], tuple[bytes, ...]] = OrderedDict()
        self._size = 0

    def get(self, key: tuple[str, str]) -> tuple[bytes, ...] | None:
        with self._lock:
            body = self._bodies.get(key)
            if body is not None:
                self._bodies.move_to_end(key)
            return body

    def keep(self, key: tuple[str, str], body: tuple[bytes, ...]) -> None:
        with self._lock:
            if key not in self._bodies:
                self._bodies[key] = body
                self._size += sum(map(len, body))
            while self._size > _KEPT_TOGETHER:
                _, oldest = self._bodies.popitem(last=False)
                self._size -= sum(map(len, oldest))


_stored_bodies = _Kept()


class _Written(NamedTuple):
    chunks: list[bytes]
    bare: list[bytes]
    """Contents in it that travel unencoded, and could so be taken for a boundary."""
    is_8bit: bool


def _entity(part: Part, seed: str, path: str, read: Read | None) -> _Written:
    own = [header.field_octets(name, value) for name, value in part.headers]
    if not part.subparts:
        body = _body(part, read)
        bare = [each for each in body if _DELIMITER_START in each] if part.encoding in ("7bit", "8bit") else []
        return _Written([*own, _generated(part, part.encoding), *body], bare, part.encoding == "8bit")
    written = [_entity(each, seed, f"{path}.{place}", read) for place, each in enumerate(part.subparts)]
    bare = [each for below in written for each in below.bare]
    is_8bit = any(below.is_8bit for below in written)
    boundary = _boundary(seed, path, bare)
    fields = _generated(part, "8bit" if is_8bit else None).replace(_ANY_BOUNDARY.encode(), boundary, 1)
    chunks = [*own, fields]
    delimiter = b"--%b\r\n" % boundary
    for below in written:
        chunks.append(delimiter)
        chunks += below.chunks
        delimiter = b"\r\n--%b\r\n" % boundary
    chunks.append(b"\r\n--%b--" % boundary)
    return _Written(chunks, bare, is_8bit)


def _boundary(seed: str, path: str, bare: list[bytes]) -> bytes:
    """Return the boundary of the multipart at `path`: the first that no content below holds.

    A letter that forwards itself holds its own.
    """
    candidate = 0
    while True:
        digest = hashlib.blake2b(f"{seed} {path} {candidate}".encode(), digest_size=16).hexdigest()
        boundary = _BOUNDARY.format(digest).encode()
        if not any(boundary in each for each in bare):
            return boundary
        candidate += 1


def _generated(part: Part, encoding: str | None) -> bytes:
    """Return the fields that follow from the part, but for those that it brings, and the blank line."""
    return _fields(
        part.content_type,
        part.charset,
        part.parameters,
        bool(part.subparts),
        encoding,
        part.disposition,
        part.name,
        part.content_id,
        part.description,
        frozenset(name.lower() for name, _ in part.headers) if part.headers else frozenset(),
    )


@lru_cache(maxsize=512)
def _fields(
    content_type: str,
    charset: str | None,
    parameters: Pairs,
    has_boundary: bool,
    encoding: str | None,
    disposition: str | None,
    name: str | None,
    content_id: str | None,
    description: str | None,
    own: frozenset[str],
) -> bytes:
    pairs = [("boundary", _ANY_BOUNDARY)] if has_boundary else []
    pairs += [("charset", charset)] if charset else []
    pairs += parameters
    if name and not any(key.lower() == "name" for key, _ in parameters):
        # The older place of a file name; some readers know no other.
        pairs.append(("name", name))
    fields = [header.parameterized("Content-Type", content_type, pairs)]
    if encoding:
        fields.append(header.structured("Content-Transfer-Encoding", encoding))
    if content_id and "content-id" not in own:
        fields.append(header.structured("Content-ID", f"<{content_id}>"))
    if description and "content-description" not in own:
        fields.append(header.unstructured("Content-Description", description))
    if disposition and "content-disposition" not in own:
        fields.append(header.parameterized("Content-Disposition", disposition, [("filename", name)] if name else []))
    fields.append(b"\r\n")
    return b"".join(fields)


def _body(part: Part, read: Read | None) -> tuple[bytes, ...]:
    """Return a leaf's content as it travels, without a line end after it."""
    encoding = part.encoding or "7bit"
    if isinstance(part.content, Stored):
        return _stored_body(part.content, encoding, read)
    if encoding in ("7bit", "8bit"):
        return (part.content,)
    encoded = part.encoded
    if encoded is None:
        encoded = transfer_encoding.encode_in_pieces(part.content, encoding)
        if len(part.content) <= _KEPT_MOST:
            object.__setattr__(part, "encoded", encoded)
    return encoded


def _stored_body(stored: Stored, encoding: str, read: Read | None) -> tuple[bytes, ...]:
    key = (stored.sha256, encoding)
    encoded = _stored_bodies.get(key)
    if encoded is None:
        if read is None:
            raise ValueError(f"the content {stored.sha256} is kept elsewhere, and nothing to read it with was given")
        octets = read(stored)
        if len(octets) != stored.size or not transfer_encoding.fits(octets, encoding):
            problem = f"{stored.sha256} is not the content of {stored.size} octets, fit to travel as {encoding}"
            raise invalid("content", problem, "store what the part says")
        encoded = transfer_encoding.encode_in_pieces(octets, encoding)
        if len(octets) <= _KEPT_MOST:
            _stored_bodies.keep(key, encoded)
    return encoded
