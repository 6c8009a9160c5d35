"""The arguments of `make_mime_part`: what each may be, and what follows where it is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from postroom.errors import invalid
from postroom.mime import charset as charsets
from postroom.mime import content_type as content_types
from postroom.mime import file_name as file_names

Pairs = tuple[tuple[str, str], ...]
PairsInput = Mapping[str, str] | Iterable[tuple[str, str]]


def content_type(given: str | None, text: object, file: object, subparts: object, path: str | None) -> str:
    """The content type: given; or what the file name tells; or the most general one."""
    if given is not None:
        return content_types.check(given, "content_type")
    if subparts is not None:
        return content_types.MIXED
    if path and (known := content_types.of_file_name(path)):
        return known
    return content_types.TEXT if isinstance(text, str) and file is None else content_types.OCTETS


def charset(given: str | None, parameters: Pairs) -> str | None:
    """The MIME name of the charset: given, by itself or among the parameters; None when it is not."""
    name = None if given is None else charsets.codec_of(given, "charset")[0]
    for attribute, value in parameters:
        if attribute.lower() == "charset":
            place = f"parameters[{attribute!r}]"
            named, _ = charsets.codec_of(value, place)
            if name not in (None, named):
                raise invalid(place, f"it contradicts charset={name!r}", "give one of them")
            name = named
    return name


def pairs(given: PairsInput | None, field: str) -> Pairs:
    """Pairs of name and value, in order."""
    if not given:
        return ()
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise invalid(field, f"it is {type(given).__name__}", "give a mapping, or pairs of name and value")
    taken = tuple(given.items() if isinstance(given, Mapping) else given)
    for pair in taken:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
            raise invalid(field, "something in it is no pair of two strings", "give (name, value)")
    return tuple((name, value) for name, value in taken)


def disposition(given: str | None, attachment: bool | None, kind: str, file: object, name: str | None) -> str | None:
    """The disposition: given, in either way; of a file attachment; inline of what is no body, or has a name."""
    if given is not None:
        given = given.lower() if isinstance(given, str) else given
        if attachment is not None and attachment != (given == "attachment"):
            raise invalid("attachment", f"it contradicts disposition={given!r}", "give one of them")
        return given
    if attachment or (attachment is None and file is not None):
        return "attachment"
    is_body = content_types.is_text(kind) or kind.startswith(("message/", "multipart/"))
    return None if is_body and name is None else "inline"


def file_name(given: str | None, path: str | None) -> str | None:
    """The file name: given, or that of the file."""
    if given is not None:
        return file_names.clean(given, "name")
    return file_names.clean(path, "file") if path else None


def octets(given: object) -> bytes:
    """Octets given as text."""
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    raise invalid("text", f"it is {type(given).__name__}", "give a str, or bytes")
