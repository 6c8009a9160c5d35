"""The relays of a worker: those that a TOML file describes, in order of failover; or the one of POSTROOM_RELAY_URL."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from postroom.address import ascii_domain
from postroom.errors import InvalidLetter, InvalidSettings
from postroom.keywords import word
from postroom.settings import Settings, secret_variable
from postroom_worker.access_token import token_source
from postroom_worker.relay import EHLO_NAME, Limits, Relay

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LIMITS: Final = frozenset(each.name for each in fields(Limits))
_OF_SMTP: Final = ("ca_file", "certificate", "ehlo_name")
_OF_SESSIONS: Final = ("connections", "connections_per_s", "letters_per_connection")


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    url: str
    password_file: str = ""
    password_env: str = ""
    token: str = ""
    arguments: tuple[str, ...] | None = None
    limits: dict[str, Any] = {}
    domains: dict[str, Any] = {}
    senders: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    ca_file: str = ""
    certificate: str = ""
    ehlo_name: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    relays: dict[str, Any]


def read_relays(settings: Settings) -> tuple[Relay, ...]:
    """Return the relays that letters may go to, in order of failover; at least one.

    POSTROOM_RELAYS is a TOML file with a table ``[relays.NAME]`` for each: ``url``, and if you like ``password_file``
    or ``password_env`` (a variable) or ``token`` (``package.module:function``), ``arguments`` (of a program),
    ``limits``, ``domains`` (limits by the domain of the recipients), ``senders``, ``tags``, ``ca_file``,
    ``certificate`` and ``ehlo_name``. Files are relative to the TOML file. Without it there is one relay, ``default``.

    Raises:
        InvalidSettings: a relay cannot be read. The message names it and the key, and shows no secret.
    """
    if not settings.relays:
        return (_single(settings),)
    path = Path(settings.relays)
    try:
        tables = msgspec.toml.decode(path.read_bytes(), type=_File).relays
    except OSError as error:
        raise _invalid(path, f"it cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _invalid(path, f"{error}; write a table [relays.NAME] for each relay") from None
    if not tables:
        raise _invalid(path, "it has no relay; write a table [relays.NAME] for each")
    names = [name.lower() for name in tables]
    for name in tables:
        if not _NAME.fullmatch(name) or names.count(name.lower()) > 1:
            problem = f"{name!r} is no name of a relay, or is another's too"
            raise _invalid(path, f"{problem}; use 1 to 40 ASCII letters, digits, _ and -, whatever their case")
    return tuple(_relay(path, name, table) for name, table in tables.items())


def _single(settings: Settings) -> Relay:
    password = _of(settings.relay_password_file, "POSTROOM_RELAY_PASSWORD_FILE", lambda file: _first_line(Path(file)))
    _of(settings.relay_token, "POSTROOM_RELAY_TOKEN", token_source)
    return Relay.from_url(settings.relay_url, password=password, token=settings.relay_token)


def _relay(path: Path, name: str, table: object) -> Relay:
    folder = path.parent
    with _told_of(f"POSTROOM_RELAYS, {path}"):
        with _told_of(f"relay {name}"):
            entry = msgspec.convert(table, _Entry)
            password = _password(folder, entry)
            _of(entry.token, "token", token_source)
        relay = Relay.from_url(entry.url, name, password=password, token=entry.token)
        with _told_of(f"relay {name}"):
            return replace(
                relay,
                program=_program(relay, entry),
                limits=_limits(entry.limits, "limits"),
                domains=_domains(entry.domains),
                senders=_some(entry.senders, "senders", ascii_domain),
                tags=_some(entry.tags, "tags", word),
                ca_file=_file(folder, entry.ca_file, "ca_file"),
                certificate=_file(folder, entry.certificate, "certificate"),
                ehlo_name=_ehlo_name(entry.ehlo_name),
            )


@contextmanager
def _told_of(what: str) -> Iterator[None]:
    """What is wrong inside is told of this."""
    try:
        yield
    except (InvalidSettings, InvalidLetter, msgspec.ValidationError) as error:
        raise InvalidSettings(f"{what}: {error}") from None


def _password(folder: Path, entry: _Entry) -> str:
    if entry.password_file and entry.password_env:
        raise InvalidSettings("password_file and password_env are given: give one")
    of_variable = _of(entry.password_env, "password_env", secret_variable)
    return of_variable or _of(entry.password_file, "password_file", lambda file: _first_line(folder / file))


def _of(value: str, key: str, read: Callable[[str], T]) -> T | str:
    """What is read by the value of a key, which may be empty."""
    with _told_of(key):
        return read(value) if value else ""


def _first_line(file: Path) -> str:
    """The one line of a file that holds a secret; editors and consoles end it with a line break."""
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeError:
        raise InvalidSettings(f"{file} is not UTF-8") from None
    if not text or not text.isprintable():
        raise InvalidSettings(f"{file} has to hold one line, the password")
    return text


def _program(relay: Relay, entry: _Entry) -> tuple[str, ...]:
    if not relay.program:
        if entry.arguments is not None:
            raise InvalidSettings("arguments are a program's: use them with sendmail://")
        return ()
    for key in _OF_SMTP:
        if getattr(entry, key):
            raise InvalidSettings(f"{key} is of no use to a program")
    for key in _OF_SESSIONS:
        if any(isinstance(each, dict) and each.get(key) for each in (entry.limits, *entry.domains.values())):
            raise InvalidSettings(f"limits: {key} is of no use to a program, which has no sessions")
    if entry.arguments is None:
        return relay.program
    for argument in entry.arguments:
        if not argument or not argument.isprintable() or argument in ("-t", "--"):
            # With -t the header would decide who gets the letter, not the envelope.
            raise InvalidSettings("arguments: each has to be printable, not empty, and neither -t nor --")
    return (relay.program[0], *entry.arguments)


def _limits(table: object, key: str) -> Limits:
    if isinstance(table, dict) and not table.keys() <= _LIMITS:
        unknown = ", ".join(sorted(table.keys() - _LIMITS))
        raise InvalidSettings(f"{key}: {unknown} is no limit; use {', '.join(sorted(_LIMITS))}")
    with _told_of(key):
        limits = msgspec.convert(table, Limits)
    for name in _LIMITS:
        if not 0 <= getattr(limits, name) < math.inf:
            raise InvalidSettings(f"{key}: {name} has to be a number of 0 or more; 0 sets no limit")
    return limits


def _domains(tables: dict[str, Any]) -> dict[str, Limits]:
    limits: dict[str, Limits] = {}
    for name, table in tables.items():
        domain = name if name == "*" else ascii_domain(name, "domains")
        if domain in limits:
            raise InvalidSettings(f"domains: {domain} is there twice")
        limits[domain] = _limits(table, f"domains.{domain}")
    return limits


def _some(values: Iterable[str] | None, key: str, check: Callable[[str, str], str]) -> tuple[str, ...]:
    if values is None:
        return ()
    found = tuple(dict.fromkeys(check(each, key) for each in values))
    if not found:
        raise InvalidSettings(f"{key}: it is empty, and the relay would serve nobody; leave it out to serve all")
    return found


def _file(folder: Path, file: str, key: str) -> str:
    if not file:
        return ""
    found = folder / file
    if not found.is_file():
        raise InvalidSettings(f"{key}: there is no file {found}")
    return str(found)


def _ehlo_name(name: str) -> str:
    if name and not EHLO_NAME.fullmatch(name):
        raise InvalidSettings("ehlo_name: it has to be a host name, or an address in brackets")
    return name


def _invalid(path: Path, problem: str) -> InvalidSettings:
    return InvalidSettings(f"POSTROOM_RELAYS, {path}: {problem}")
