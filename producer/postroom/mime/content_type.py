"""Content types (RFC 2045 §5): which one content has, by its file name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from postroom.errors import invalid
from postroom.mime.parameter import check_token

TEXT: Final = "text/plain"
OCTETS: Final = "application/octet-stream"
MIXED: Final = "multipart/mixed"
MESSAGE: Final = "message/rfc822"

_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_OPEN: Final = "application/vnd.oasis.opendocument"

# Not the machine's table, and not Python's, which grows: a file has the same type wherever its letter is written.
_EXTENSIONS: Final[Mapping[str, str]] = {
    "application/epub+zip": "epub",
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/json": "json map",
    "application/ld+json": "jsonld",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc dot",
    "application/pdf": "pdf",
    "application/pgp-encrypted": "pgp",
    "application/pgp-signature": "asc sig",
    "application/pkcs7-mime": "p7c p7m",
    "application/pkcs7-signature": "p7s",
    "application/pkix-cert": "cer crt",
    "application/postscript": "ai eps ps",
    "application/rtf": "rtf",
    "application/sql": "sql",
    "application/vnd.apple.mpegurl": "m3u m3u8",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.ms-excel": "xls xlb",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    "application/vnd.ms-outlook": "msg",
    "application/vnd.ms-powerpoint": "pot pps ppt",
    "application/vnd.ms-word.document.macroenabled.12": "docm",
    "application/vnd.rar": "rar",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-compress": "z",
    "application/x-cpio": "cpio",
    "application/x-dvi": "dvi",
    "application/x-hdf5": "h5",
    "application/x-latex": "latex",
    "application/x-mimearchive": "mht mhtml",
    "application/x-netcdf": "cdf nc",
    "application/x-pkcs12": "p12 pfx",
    "application/x-sh": "sh",
    "application/x-tar": "tar",
    "application/x-tex": "tex",
    "application/x-xz": "xz",
    "application/xhtml+xml": "xht xhtml",
    "application/xml": "rdf wsdl xml xsd xsl",
    "application/yaml": "yaml yml",
    "application/zip": "zip",
    "application/zstd": "zst",
    "audio/3gpp2": "3gpp2",
    "audio/aac": "aac adts",
    "audio/amr": "amr",
    "audio/basic": "au snd",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp2 mp3",
    "audio/ogg": "oga ogg opus",
    "audio/wav": "wav",
    "audio/x-aiff": "aif aifc aiff",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jpeg": "jpe jpeg jpg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "image/x-portable-anymap": "pnm",
    "image/x-portable-bitmap": "pbm",
    "image/x-portable-graymap": "pgm",
    "image/x-portable-pixmap": "ppm",
    MESSAGE: "eml",
    "text/calendar": "ics ifb",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "htm html",
    "text/javascript": "js mjs",
    "text/markdown": "markdown md",
    TEXT: "c conf diff h ini log patch pl srt text txt",
    "text/richtext": "rtx",
    "text/tab-separated-values": "tsv",
    "text/vcard": "vcard vcf",
    "text/vtt": "vtt",
    "text/x-python": "py",
    "video/3gpp": "3gp",
    "video/mp4": "m4v mp4",
    "video/mpeg": "mpe mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    f"{_OFFICE}.presentationml.presentation": "pptx",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    f"{_OPEN}.graphics": "odg",
    f"{_OPEN}.presentation": "odp",
    f"{_OPEN}.spreadsheet": "ods",
    f"{_OPEN}.text": "odt",
}

_BY_EXTENSION: Final[Mapping[str, str]] = {
    extension: content_type for content_type, extensions in _EXTENSIONS.items() for extension in extensions.split()
}


def of_file_name(name: str) -> str | None:
    """Return the content type that a file name's extension stands for, in any case; None when it tells nothing."""
    stem, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get(extension.lower()) if stem and dot else None


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
