"""Content types (RFC 2045 §5): which one content has, by its file name."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from postroom.errors import invalid
from postroom.parameter import check_token

TEXT: Final = "text/plain"
OCTETS: Final = "application/octet-stream"
MIXED: Final = "multipart/mixed"
MESSAGE: Final = "message/rfc822"

_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument"

# Python's own table, not the machine's: a file has the same type wherever its letter is written. The rows added are
# those that the table of Python 3.11 lacks or a later one changed, and compressed files, which it takes for what is in
# them.
_BY_EXTENSION: Final[Mapping[str, str]] = {
    **mimetypes.MimeTypes().types_map[True],
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".br": OCTETS,
    ".bz2": "application/x-bzip2",
    ".csv": "text/csv",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".ics": "text/calendar",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".log": TEXT,
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".odp": f"{_OPEN_DOCUMENT}.presentation",
    ".ods": f"{_OPEN_DOCUMENT}.spreadsheet",
    ".odt": f"{_OPEN_DOCUMENT}.text",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".p7m": "application/pkcs7-mime",
    ".p7s": "application/pkcs7-signature",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".svg": "image/svg+xml",
    ".tgz": "application/gzip",
    ".ttf": "font/ttf",
    ".vcf": "text/vcard",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".z": "application/x-compress",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}


def of_file_name(name: str) -> str | None:
    """Return the content type that a file name's extension stands for, in any case; None when it tells nothing."""
    stem, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get(f".{extension.lower()}") if stem and dot else None


@lru_cache(maxsize=256)
def check(content_type: str, field: str) -> str:
    """Return a content type in lower case.

    Args:
        content_type: a type and a subtype with a slash between, without parameters.
        field: the name that an error gives.

    Raises:
        InvalidLetter: it is something else.
    """
    main, slash, subtype = content_type.partition("/") if isinstance(content_type, str) else ("", "", "")
    if not slash or len(content_type) > 255:
        raise invalid(field, f"{str(content_type)[:80]!r} is no type/subtype", "write it as 'text/plain'")
    if ";" in subtype:
        raise invalid(field, "it has parameters", "give charset=, name= or parameters= beside it")
    check_token(main, field)
    check_token(subtype, field)
    return content_type.lower()


def is_multipart(content_type: str) -> bool:
    """Say whether a part of this type has subparts."""
    return content_type.startswith("multipart/")


def is_message(content_type: str) -> bool:
    """Say whether a part of this type is a message and so may travel only as it is (RFC 2046 §5.2)."""
    # message/global and its kin may travel in any encoding (RFC 6532 §3.7), and are best kept from relays' hands.
    return content_type.startswith("message/") and not content_type.startswith("message/global")


def is_text(content_type: str) -> bool:
    """Say whether a part of this type is text, with lines and a charset (RFC 2046 §4.1)."""
    return content_type.startswith("text/")
