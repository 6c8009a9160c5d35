"""Mail-merge: one content for many recipients, each with fields of its own.

The content is stored once, and each letter keeps its fields; the worker puts them together as was done here, where
they are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, Concatenate, ParamSpec

from postroom import fields as merge_fields
from postroom import letter_json
from postroom.address import AddressesInput, Group, Mailbox
from postroom.errors import InvalidLetter, Problem, Problems, invalid
from postroom.letter import Letter, checks
from postroom.mime import charset, plain_text
from postroom.mime.part import Part
from postroom.mime.part_arguments import pairs
from postroom.settings import Settings, process_settings

P = ParamSpec("P")
Row = Mapping[str, object]
"""The fields of one letter, by name: strings, or whole numbers."""

_OF_ONE_LETTER = ("id", "date_ms", "ready")
_OTHER_NAMES = {"send_at": "send_at_ms", "expires_in": "expires_in_ms"}


def _merger(make: Callable[P, Letter]) -> Callable[Concatenate[Iterable[Row], P], Iterator[Letter]]:
    """Return what merges, with the keywords of a letter: editors and type checkers know them all."""

    def merge(rows: Iterable[Row], /, *args: P.args, **keywords: P.kwargs) -> Iterator[Letter]:
        """Return a letter for each row, to be sent by `send_letters`; their content is stored once for all of them.

            people = [{"name": "Ann", "email": "ann@example.com"}, {"name": "Ben", "email": "ben@example.com"}]
            send_letters(merge(people, "{name} <{email}>", "Dear {name}, …", subject="News for {name}"))

        ``{name}`` stands for what the row says under ``name``: in `to`, `cc`, `bcc`, `reply_to`, `subject`, `message`,
        `html` (escaped), the values of `headers`, `list_unsubscribe` (percent-encoded), `envelope_from` and
        `idempotency_key`. ``{{name}}`` is the text ``{name}``, and braces around anything else are themselves. All
        other keywords, and parts made by hand, are the same for all.

        Args:
            rows: mappings of field names to strings or whole numbers; any iterable, each is taken when its turn comes.
            args: as for `Letter`.
            keywords: as for `Letter`, but for `id`, `date_ms` and `ready`. A tuple of two strings is one recipient,
                name and address.

        Raises:
            InvalidLetter: a keyword cannot be used. Later, when its turn has come: a row lacks a field, or its letter
                cannot be sent; it names the row, counted from 0.
        """
        given = signature(make).bind(*args, **keywords).arguments
        settings = given.pop("settings", None) or process_settings()
        return _letters(_template(given, settings), rows, settings)

    own = signature(make)
    rows = Parameter("rows", Parameter.POSITIONAL_ONLY, annotation="Iterable[Row]")
    # inspect.signature reads this attribute (PEP 362); mypy knows it of no function.
    merge.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[rows, *own.parameters.values()], return_annotation="Iterator[Letter]"
    )
    return merge


merge = _merger(Letter)


def _letters(template: letter_json.Template, rows: Iterable[Row], settings: Settings) -> Iterator[Letter]:
    names = sorted(merge_fields.names(template.keywords))
    for place, row in enumerate(rows):
        try:
            yield Letter.of_template(template, _fields(row, names), settings)
        except InvalidLetter as error:
            raise InvalidLetter(_of_row(place, each) for each in error.problems) from None


def _of_row(place: int, problem: Problem) -> Problem:
    field = "" if problem.field == "fields" else f".{problem.field}"
    return Problem(f"rows[{place}]{field}", problem.problem, problem.remedy)


def _fields(row: Row, names: Iterable[str]) -> dict[str, str]:
    """The fields of a row that are needed, as text.

    Raises:
        InvalidLetter: it is no row, lacks a field, or has something in it that is no text.
    """
    if not isinstance(row, Mapping):
        raise invalid("fields", f"it is {type(row).__name__}", "give a mapping of names to strings")
    problems = Problems()
    found = {}
    for name in names:
        value = row.get(name)
        if name not in row:
            problems.append(merge_fields.missing_field(name))
        elif isinstance(value, str | int) and not isinstance(value, bool):
            found[name] = str(value)
        else:
            problem = f"the field {name!r} is {type(value).__name__}"
            problems.append(Problem("fields", problem, "give a str, written as people are to read it"))
    problems.raise_if_any()
    return found


def _template(given: Mapping[str, Any], settings: Settings) -> letter_json.Template:
    """What all letters have in common, checked as far as it can be without a row.

    Raises:
        InvalidLetter: a keyword cannot be used; it names every problem.
    """
    problems = Problems()
    keywords: dict[str, Any] = {}
    known = checks(settings.domain_literals, settings.letter_max)
    with problems.collecting():
        keywords["from_"] = str(known["from_"](given.get("from_") or settings.from_, "from_"))
    for keyword, value in given.items():
        name = _OTHER_NAMES.get(keyword, keyword)
        if value is None or name == "from_":
            continue
        with problems.collecting():
            if keyword in _OF_ONE_LETTER:
                raise invalid(keyword, "it is one letter's own", "leave it out")
            keywords[name] = _WITH_FIELDS[name](value, name) if name in _WITH_FIELDS else known[name](value, keyword)
    problems.raise_if_any()
    if "inline" in keywords:
        keywords["inline"] = {part.content_id: part for part in keywords["inline"]}
    if "idempotency_key" in keywords and not merge_fields.names({"idempotency_key": keywords["idempotency_key"]}):
        raise invalid("idempotency_key", "it is the same for all: they would be one letter", "put a field into it")
    return letter_json.write_template(_with_text(keywords), settings.contents_over)


def _with_text(keywords: dict[str, Any]) -> dict[str, Any]:
    """Make the text of the html once for all, before anything stands in it."""
    html = keywords.get("html")
    if not isinstance(html, str) or "message" in keywords or not keywords.get("text_from_html", True):
        return keywords
    text = plain_text.from_html(html)
    return keywords | {"text_from_html": False} | ({"message": text} if text else {})


def _string(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise invalid(field, f"it is {type(value).__name__}", "give a str")
    charset.encode(value, charset.UTF_8, field)
    return value


def _body(value: Any, field: str) -> str | Part:
    if not isinstance(value, str | Part):
        raise invalid(field, f"it is {type(value).__name__}", "give a str, or a part")
    return value if isinstance(value, Part) else _string(value, field)


def _headers(value: Any, field: str) -> tuple[tuple[str, str], ...]:
    return tuple((_string(name, field), _string(text, field)) for name, text in pairs(value, field))


def _urls(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise invalid(field, f"it is {type(value).__name__}", "give a URL, or a list of them")
    return tuple(_string(each, field) for each in ([value] if isinstance(value, str) else value))


def _addresses(value: AddressesInput, field: str) -> tuple[str, ...]:
    """Addresses with fields in them, each as it is written."""
    match value:
        case (str(name), str(address)) if isinstance(value, tuple) and "@" not in name:
            return _addresses(Mailbox(address, name), field)
    if isinstance(value, str | Mailbox | Group):
        return (_string(str(value), field),)
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise invalid(field, f"it is {type(value).__name__}", "give an address, or a list of them")
    return tuple(each for item in value for each in _addresses(item, field))


_WITH_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("to", "cc", "bcc", "reply_to"), _addresses),
    **dict.fromkeys(("subject", "envelope_from", "idempotency_key"), _string),
    **dict.fromkeys(("message", "html"), _body),
    "headers": _headers,
    "list_unsubscribe": _urls,
}
