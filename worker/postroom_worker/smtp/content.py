"""The content as it goes over the wire: dot-stuffed after DATA (RFC 5321 §4.5.2), as it is after BDAT (RFC 3030)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

TAIL_OCTETS = 32 * 1024
"""How much of the content may go in one write with its end: small letters go whole."""
_PIECE_OCTETS = 1024 * 1024
"""A chunk of BDAT: the relay answers each."""
END = b".\r\n"


def header(content: Sequence[bytes]) -> bytes:
    """Return the header of a message in chunks; the blank line may lie across two."""
    found = b""
    for chunk in content:
        found += chunk
        if b"\r\n\r\n" in found:
            break
    return found.partition(b"\r\n\r\n")[0]


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks with every line's leading dot doubled (RFC 5321 §4.5.2), then the end of the content.

    It makes no difference where the chunks are cut. A last line without its CRLF gets it.
    """
    before = b"\r\n"  # the two octets before the chunk: the content begins at the beginning of a line
    for chunk in chunks:
        if not chunk:
            continue
        # Looking for one octet is forty times as fast as for three; base64 has no dot.
        body = chunk.replace(b"\r\n.", b"\r\n..") if b"." in chunk else chunk
        if (before == b"\r\n" and chunk[:1] == b".") or (before[-1:] == b"\r" and chunk[:2] == b"\n."):
            cut = body.index(b".")
            body = body[:cut] + b"." + body[cut:]
        before = (before + chunk[-2:])[-2:]
        yield body
    yield END if before == b"\r\n" else b"\r\n" + END


def ended(chunks: Sequence[bytes]) -> bytes:
    """Return the whole content for one BDAT; a last line without its CRLF gets it, as after DATA."""
    whole = b"".join(chunks)
    return whole if whole.endswith(b"\r\n") or not whole else whole + b"\r\n"


def together(chunks: Sequence[bytes]) -> Sequence[bytes]:
    """Return the chunks as one, if they are small: what is done with each is then done once."""
    return [b"".join(chunks)] if sum(map(len, chunks)) <= TAIL_OCTETS else chunks


def split(chunks: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    """Return what is written before the window, and the last octets, which end the content after DATA."""
    written = list(stuffed(chunks))
    if sum(map(len, written)) <= TAIL_OCTETS:
        return [], b"".join(written)
    return written[:-1], written[-1]


def first(chunks: Iterable[bytes]) -> bytes:
    """Return the first octet."""
    return next(filter(None, chunks), b"")[:1]


def pieces(chunks: Sequence[bytes], *, begun: int) -> tuple[list[memoryview], bytes]:
    """Return the chunks of BDAT that are written before the window, and the last one.

    Args:
        chunks: the message.
        begun: how many octets of it have been written already.
    """
    whole = memoryview(ended(chunks))
    last = max(begun, len(whole) - TAIL_OCTETS)
    head = [whole[at : min(at + _PIECE_OCTETS, last)] for at in range(begun, last, _PIECE_OCTETS)]
    return head, bytes(whole[last:])
