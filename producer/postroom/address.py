"""Addresses: whom a letter is for. One value feeds the header fields and the envelope.

The grammar is that of the envelope, RFC 5321 §4.1.2 with the characters of RFC 6531: no comments, no folding white
space, no controls. Around it stand the display names and groups of RFC 5322 §3.4. Domains are IDNA 2008 (RFC 5891)
everywhere: in the header, the envelope and the DNS.

Not here: whether an address exists (`address_check`) and how it is written into a header field (`header`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeGuard, TypeVar

import idna
from email_validator import EmailNotValidError, validate_email

from postroom.errors import InvalidLetter, Problem, invalid

LOCAL_LIMIT = 64
"""Octets before the @ (RFC 5321 §4.5.3.1.1)."""
DOMAIN_LIMIT = 253
"""Octets of a domain in ASCII: what the 255 octets of RFC 5321 §4.5.3.1.2 and RFC 1035 leave for characters."""
ADDRESS_LIMIT = 254
"""Octets of an address: a path of 256 (RFC 5321 §4.5.3.1.3) without its angle brackets."""
NAME_LIMIT = 998
"""Characters of a display name."""
TEXT_LIMIT = 1_000_000
"""Characters of an address list or a group in one str."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*+"
# Two hyphens in the third place mark an encoded label (RFC 5890 §2.3.1): those take the slow path.
_LABEL = r"(?!-|..--)[A-Za-z0-9-]{1,63}+(?<!-)"
# What the socket calls read as an IPv4 address: 127.1, 2130706433 and 0x7f.1 too.
_NUMBER = r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)"
_HOST = rf"(?:{_LABEL}\.)*+(?!{_NUMBER}\Z){_LABEL}"
_QUOTED_STRING = r'"(?:[^"\\]++|\\.)*+"'
_PHRASE = rf'(?:[^"\\<>@,;:]++|{_QUOTED_STRING})*+'
_COMMENT = r"\((?:[^()\\]++|\\.)*+\)"

_is_ordinary = re.compile(rf"({_DOT_ATOM})@({_HOST})").fullmatch
_is_dot_atom = re.compile(_DOT_ATOM).fullmatch
_is_host = re.compile(_HOST).fullmatch
_is_number = re.compile(_NUMBER).fullmatch
_is_quoted_string = re.compile(_QUOTED_STRING).fullmatch
_is_phrase = re.compile(_PHRASE).fullmatch
_is_named = re.compile(rf"({_PHRASE})<([^<>]*)>").fullmatch
_is_commented = re.compile(rf"([^ ()<>]++) ++({_COMMENT})").fullmatch
_is_plain_name = re.compile(r'[^"\\<>@,;:()\[\]]+').fullmatch

_QUOTED_PARTS = re.compile(_QUOTED_STRING)
_ESCAPED = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r'(["\\])')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Relays that parse badly take what follows these for another address or an ESMTP parameter.
_MISROUTES = re.compile("[ <>]")
# What a compatibility character becomes in software that normalizes: then it is syntax. U+3002 is a full stop in IDNA.
_SYNTAX = re.compile('[\x00-\x20@.<>()\\[\\],;:\\\\"\u3002]')
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_next_item = re.compile(rf'((?:[^,;:"()\[\]\\]++|{_QUOTED_STRING}|{_COMMENT}|\[[^\[\]]*+\])*+)([,;:]|\Z)').match

# A name in quotes may have a backslash before each character.
_WRITTEN_LIMIT = 2 * NAME_LIMIT + ADDRESS_LIMIT + len('"" <>')

_ONE_ADDRESS = "this is one address: for several give a list; a name that holds a comma, give as a (name, address) pair"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One recipient or sender, as `parse_mailbox` makes it. Made by hand, it is checked where a letter takes it."""

    address: str
    """The normalized address. ASCII, the domain in A-labels; or, when the local part is not ASCII, the local part in
    NFC and the domain in U-labels (RFC 6531). The domain is in lower case."""
    name: str = ""
    """The display name, decoded text; empty when there is none."""

    @property
    def local(self) -> str:
        """What stands before the @, quotes included."""
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """What stands after the @."""
        return self.address.rpartition("@")[2]

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a relay with SMTPUTF8 (RFC 6531) can take it."""
        return not self.address.isascii()

    @property
    def key(self) -> str:
        """What makes two mailboxes one recipient: the local part as it is, the domain in lower case."""
        local, _, domain = self.address.rpartition("@")
        return f"{local}@{domain.lower()}"

    def __str__(self) -> str:
        """Return ``Name <address>`` for people; `parse_mailbox` reads it back."""
        return f"{_phrase(self.name)} <{self.address}>" if self.name else self.address


@dataclass(frozen=True, slots=True)
class Group:
    """A named list of mailboxes, possibly empty (RFC 5322 §3.4)."""

    name: str
    """The display name, decoded text; never empty."""
    members: tuple[Mailbox, ...]

    def __str__(self) -> str:
        """Return ``Name: address, address;`` for people; `parse_addresses` reads it back."""
        return f"{_phrase(self.name)}: {', '.join(map(str, self.members))};"


Address = Mailbox | Group
AddressInput = str | tuple[str, str] | Mailbox | Group
AddressesInput = AddressInput | Iterable[AddressInput]

_Given = TypeVar("_Given")
_Parsed = TypeVar("_Parsed")


def parse_mailbox(value: str | tuple[str, str] | Mailbox, field: str, *, allow_domain_literal: bool = False) -> Mailbox:
    """Return the one mailbox that `value` names.

    Spaces around the address and the name are ignored.

    Args:
        value: ``"a@x"``, ``"Name <a@x>"``, ``("Name", "a@x")`` or a `Mailbox`, which is checked again. In the second
            form a name that holds one of ``< > @ , ; : " \\`` stands in double quotes.
        field: the name that an error gives.
        allow_domain_literal: take ``a@[192.0.2.1]`` and ``a@[IPv6:2001:db8::1]`` (RFC 5321 §4.1.3).

    Raises:
        InvalidLetter: it names no mailbox, or more than one.
    """
    if isinstance(value, str):
        name, address = split_name(value.strip(" "), field)
    elif isinstance(value, Mailbox):
        name, address = value.name, value.address
    elif _is_two_strings(value):
        name, address = value
    else:
        raise invalid(
            field, f"a {type(value).__name__} is no address", "give 'a@x', 'Name <a@x>' or a (name, address) pair"
        )
    return Mailbox(_address(address.strip(" "), field, allow_domain_literal), _name(name, field) if name else "")


def parse_addresses(value: AddressesInput, field: str, *, allow_domain_literal: bool = False) -> tuple[Address, ...]:
    """Return the addresses that `value` names, in their order, none dropped.

    A str is one address, or one group (``"Team: a@x, b@y;"``): commas do not make it a list. A tuple of two str is a
    pair (name, address) if there is an @ in the second and the first does not look like an address; else it is two
    addresses.

    Args:
        value: one address in any form of `parse_mailbox`, a group, or an iterable of these.
        field: the name that an error gives; in an iterable with the index, ``to[3]``.
        allow_domain_literal: as in `parse_mailbox`.

    Raises:
        InvalidLetter: at least one of them is none; it holds the problems of all.
    """
    if isinstance(value, (str, Mailbox, Group)) or _is_pair(value):
        return (_mailbox_or_group(value, field, allow_domain_literal=allow_domain_literal),)
    if isinstance(value, (bytes, bytearray, memoryview, Mapping)) or not isinstance(value, Iterable):
        raise invalid(field, f"a {type(value).__name__} is no address", "give one address or a list of addresses")
    return _each(value, field, partial(_mailbox_or_group, allow_domain_literal=allow_domain_literal))


def mailboxes(addresses: Iterable[Address]) -> tuple[Mailbox, ...]:
    """Return the mailboxes that are named, those in groups too, in their order and as often as they are named."""
    found: list[Mailbox] = []
    for address in addresses:
        if isinstance(address, Group):
            found += address.members
        else:
            found.append(address)
    return tuple(found)


def extract_addresses(text: str, field: str = "text", *, allow_domain_literal: bool = False) -> tuple[Address, ...]:
    """Return the addresses of a whole address list, such as the body of a To field (RFC 5322 §3.4).

    Groups, quoted strings, folded lines, empty members and the old form ``a@x (Name)`` are understood. Encoded words
    stay as they are: decode the names of the *result*. Decoded before, a comma or an @ inside one would become syntax,
    and the letter go to somebody else (RFC 2047 §6.2).

    Args:
        text: the list, at most `TEXT_LIMIT` characters.
        field: the name that an error gives, with the index of the address: ``text[3]``.
        allow_domain_literal: as in `parse_mailbox`.

    Raises:
        InvalidLetter: something in it is no address; it holds the problems of all.
    """
    unfolded = _FOLD.sub("", text).replace("\t", " ")
    parse = partial(_mailbox_or_group, allow_domain_literal=allow_domain_literal)
    return _each(_split_list(unfolded, field), field, parse)


def ascii_domain(domain: str, field: str) -> str:
    """Return `domain` as the DNS knows it: in lower case and A-labels, by IDNA 2008 (RFC 5891).

    Only case and canonical composition are normalized; a character that merely stands for another (full-width,
    ligature, soft hyphen, ideographic full stop) is refused, for the name would be another than the one that is read.

    Raises:
        InvalidLetter: it is no host name: not by RFC 1123 §2.1, too long, with a dot at its end, or made of numbers.
    """
    if len(domain) <= DOMAIN_LIMIT and _is_host(domain):
        return domain.lower()
    if len(domain) > DOMAIN_LIMIT:
        raise invalid(field, f"a domain of {len(domain)} characters is too long", f"{DOMAIN_LIMIT} are the limit")
    if domain.endswith("."):
        raise invalid(field, f"the domain {_shown(domain)} ends with a dot", "leave the dot off")
    try:
        host = _to_a_labels(domain)
    except idna.IDNAError as error:
        raise invalid(
            field, f"{_shown(domain)} is no domain ({error})", "write a host name, as in name@example.com"
        ) from None
    if _is_number(host.rpartition(".")[2]):
        raise invalid(field, f"the domain {_shown(domain)} is a number", "write a host name, as in name@example.com")
    return host


@lru_cache(maxsize=4096)
def domain_of(address: str) -> str:
    """Return the domain of an address, or a bare domain, in lower case and A-labels: how it is told from others."""
    domain = address.rpartition("@")[2].lower()
    try:
        return domain if domain.isascii() else ascii_domain(domain, "to")
    except InvalidLetter:
        return domain


def _each(values: Iterable[_Given], field: str, parse: Callable[[_Given, str], _Parsed]) -> tuple[_Parsed, ...]:
    """Return every value parsed, or raise with the problems of all."""
    parsed: list[_Parsed] = []
    problems: list[Problem] = []
    for index, value in enumerate(values):
        try:
            parsed.append(parse(value, f"{field}[{index}]"))
        except InvalidLetter as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidLetter(problems)
    return tuple(parsed)


def _mailbox_or_group(value: AddressInput | _WrittenGroup, field: str, *, allow_domain_literal: bool) -> Address:
    if isinstance(value, str) and value.rstrip(" ").endswith(";"):
        value = _read_group(value, field)
    if not isinstance(value, (Group, _WrittenGroup)):
        return parse_mailbox(value, field, allow_domain_literal=allow_domain_literal)
    name = _name(value.name, field)
    if not name:
        raise invalid(field, "the group has no name", "write 'Name: a@x, b@y;'")
    # Members are mailboxes: a group in a group is refused, at whatever depth.
    parse = partial(parse_mailbox, allow_domain_literal=allow_domain_literal)
    return Group(name, _each(value.members, f"{field}.members", parse))


# --- one address ------------------------------------------------------------------------------------------------------


def _address(text: str, field: str, allow_domain_literal: bool) -> str:
    """Return the normalized address."""
    if len(text) <= ADDRESS_LIMIT and (ordinary := _is_ordinary(text)):
        local, host = ordinary.groups()
        if len(local) <= LOCAL_LIMIT:
            return f"{local}@{host.lower()}"
    return _rare_address(text, field, allow_domain_literal)


def _rare_address(text: str, field: str, allow_domain_literal: bool) -> str:
    if len(text) > ADDRESS_LIMIT:
        raise invalid(field, f"an address of {len(text)} characters is too long", f"{ADDRESS_LIMIT} are the limit")
    _refuse_controls(text, field)
    local, _, domain = text.rpartition("@")
    if not local or not domain:
        raise invalid(field, f"{_shown(text)} is no address", "write it as name@example.com, with the @ of ASCII")
    local = _local(local, field)
    if domain.startswith("["):
        domain = _domain_literal(domain, field, allow_domain_literal)
    else:
        domain = ascii_domain(domain, field)
        if not local.isascii():
            domain = _to_u_labels(domain)
    for octets, limit, what in (
        (len(local.encode()), LOCAL_LIMIT, "the part before the @"),
        (len(local.encode()) + 1 + len(domain.encode()), ADDRESS_LIMIT, "the address"),
    ):
        if octets > limit:
            raise invalid(field, f"{what} of {_shown(text)} is {octets} octets long", f"{limit} are the limit")
    return f"{local}@{domain}"


def _local(text: str, field: str) -> str:
    """Return the local part in NFC and with no more quotes than it needs (RFC 5321 §4.1.2)."""
    quoted = _is_quoted_string(text) is not None
    content = text[1:-1] if quoted else text
    if _is_dot_atom(content):
        return content
    if "@" in content and not quoted:
        raise invalid(field, f"{_shown(text)} before the last @ holds an @", _ONE_ADDRESS)
    if found := _MISROUTES.search(content):
        raise invalid(
            field, f"there is {_shown(found[0])} before the @", "leave it out: even in quotes, relays misread it"
        )
    beyond_ascii = "".join(character for character in content if not character.isascii())
    if _SYNTAX.search(unicodedata.normalize("NFKC", beyond_ascii)):
        raise invalid(field, f"a character of {_shown(text)} stands for an @, a dot or the like", "write it in ASCII")
    try:
        return validate_email(f"{text}@example.com", check_deliverability=False, allow_quoted_local=True).local_part
    except EmailNotValidError as error:
        remedy = _ONE_ADDRESS if "," in text or ";" in text else "write it as name@example.com"
        raise invalid(field, f"{_shown(text)} cannot stand before the @ ({str(error).rstrip('.')})", remedy) from None


@lru_cache(maxsize=1024)
def _to_a_labels(domain: str) -> str:
    """Return `domain` in A-labels, or raise `idna.IDNAError`."""
    composed = unicodedata.normalize("NFC", domain)
    mapped = idna.uts46_remap(composed, std3_rules=True)
    if (
        unicodedata.normalize("NFKC", composed) != composed
        or len(mapped) != len(composed)
        or mapped.casefold() != composed.casefold()
    ):
        raise idna.IDNAError(f"a character in it stands for another: is {_shown(mapped)} meant?")
    host = idna.encode(mapped).decode("ascii")
    labels = _to_u_labels(host).split(".")
    # Labels of both directions in one name are displayed out of order, unless each obeys the rule (RFC 5893 §1.4).
    if any(unicodedata.bidirectional(character) in {"R", "AL", "AN"} for label in labels for character in label):
        for label in labels:
            idna.check_bidi(label, check_ltr=True)
    return host


@lru_cache(maxsize=1024)
def _to_u_labels(host: str) -> str:
    return idna.decode(host)


def _domain_literal(text: str, field: str, allowed: bool) -> str:
    try:
        literal = validate_email(f"a@{text}", check_deliverability=False, allow_domain_literal=True).domain
    except EmailNotValidError as error:
        problem = f"{_shown(text)} is no address in brackets ({str(error).rstrip('.')})"
        raise invalid(field, problem, "write a host name, as in name@example.com") from None
    if not allowed:
        raise invalid(field, f"{_shown(text)} is an IP address, not a domain", "write the host's name")
    return literal


# --- names and lists --------------------------------------------------------------------------------------------------


def split_name(text: str, field: str) -> tuple[str, str]:
    """Return the name and the address of ``Name <address>``, as they are written; of a bare address no name.

    Raises:
        InvalidLetter: it ends as if it were of that form, and is not.
    """
    if not text.endswith(">"):
        return "", text
    if len(text) > _WRITTEN_LIMIT:
        raise invalid(field, f"an address of {len(text)} characters is too long", f"{_WRITTEN_LIMIT} are the limit")
    named = _is_named(text)
    if named is None:
        raise invalid(field, f"{_shown(text)} is not of the form Name <address>", _ONE_ADDRESS)
    return _unquote(named[1].strip(" ")), named[2]


def _name(name: str, field: str) -> str:
    if len(name) > NAME_LIMIT:
        raise invalid(field, f"a name of {len(name)} characters is too long", f"{NAME_LIMIT} are the limit")
    _refuse_controls(name, field)
    return name.strip(" ")


def _phrase(name: str) -> str:
    return name if _is_plain_name(name) else '"' + _TO_ESCAPE.sub(r"\\\1", name) + '"'


def _unquote(phrase: str) -> str:
    return _QUOTED_PARTS.sub(lambda quoted: _ESCAPED.sub(r"\1", quoted[0][1:-1]), phrase)


@dataclass(frozen=True, slots=True)
class _WrittenGroup:
    """A group as it was written."""

    name: str
    members: tuple[str | tuple[str, str], ...]


def _read_group(text: str, field: str) -> _WrittenGroup:
    match list(_split_list(text, field)):
        case [_WrittenGroup() as group]:
            return group
    raise invalid(field, f"{_shown(text)} is more than one group", _ONE_ADDRESS)


def _split_list(text: str, field: str) -> Iterator[str | tuple[str, str] | _WrittenGroup]:
    """Yield each address of a list as it is written; a group as one."""
    group: str | None = None
    members: list[str | tuple[str, str]] = []
    for item, separator in _separated(text, field):
        if separator == ":":
            if group is not None or not _is_phrase(item):
                raise invalid(
                    field, f"{_shown(item)} cannot name a group", "write 'Name: a@x, b@y;', none inside another"
                )
            group = item
        elif group is None:
            if separator == ";":
                raise invalid(field, "there is a semicolon where no group ends", "separate addresses by commas")
            if item:
                yield _commented(item)
        else:
            if item:
                members.append(_commented(item))
            if separator == ";":
                yield _WrittenGroup(_unquote(group), tuple(members))
                group, members = None, []
    if group is not None:
        raise invalid(field, f"the group {_shown(group)} does not end", "end it with a semicolon")


def _separated(text: str, field: str) -> Iterator[tuple[str, str]]:
    """Yield what stands between the commas, colons and semicolons, and which of them follows (at the end none)."""
    if len(text) > TEXT_LIMIT:
        raise invalid(field, f"a list of {len(text)} characters is too long", f"{TEXT_LIMIT} are the limit")
    position, separator = 0, ","
    while separator:
        item = _next_item(text, position)
        if item is None:
            problem = f"a quotation mark or bracket is left open in {_shown(text[position : position + 80])}"
            raise invalid(field, problem, "close it, or put the name that holds it in double quotes")
        position, separator = item.end(), item[2]
        yield item[1].strip(" "), separator


def _commented(item: str) -> str | tuple[str, str]:
    """Return the pair for ``a@x (Name)``, the form of RFC 822 that is still met; others unchanged."""
    commented = _is_commented(item)
    return (_ESCAPED.sub(r"\1", commented[2][1:-1]), commented[1]) if commented else item


# --- what is asked of every value -------------------------------------------------------------------------------------


def _is_two_strings(value: object) -> TypeGuard[tuple[str, str]]:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _is_pair(value: object) -> TypeGuard[tuple[str, str]]:
    """Whether `value` is a name with an address, and not two addresses."""
    if not _is_two_strings(value) or "@" not in value[1]:
        return False
    first = value[0].strip(" ")
    return "@" not in first or (" " in first and not first.endswith(">"))


def _refuse_controls(text: str, field: str) -> None:
    if found := _CONTROL.search(text):
        what = "half a surrogate pair" if found[0] >= "\ud800" else "a control character"
        raise invalid(field, f"it holds {what} (U+{ord(found[0]):04X}) at index {found.start()}", "leave it out")


def _shown(text: str) -> str:
    """Return `text` as an error shows it: short, and with what cannot be seen written out."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")
