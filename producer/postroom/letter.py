"""The letter: what the caller hands in, checked and made whole. Immutable from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from functools import lru_cache, partial
from typing import IO, Any, Self

from postroom import clock, fields, keywords, letter_json, letter_rules
from postroom import ready as ready_messages
from postroom.address import Address, AddressesInput, Mailbox, ascii_domain, mailboxes
from postroom.envelope import Envelope, forward_paths
from postroom.errors import InvalidLetter, Problems
from postroom.fields import Fields
from postroom.keywords import Attachment, Headers, Notify, OnUncertain, Pairs, Priority, Ret
from postroom.mime import compose, header, plain_text
from postroom.mime.part import Part, make_mime_part
from postroom.mime.render import joined
from postroom.mime.stored import Stored
from postroom.settings import Settings, process_settings


def nowhere(stored: Stored) -> bytes:
    """Give no octets: there is no ledger at hand.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"the contents {stored.sha256} are in the ledger, which is not at hand")


@dataclass(frozen=True, init=False)
class Letter:
    """A letter: content (header fields and parts) and envelope, and when and how to send it.

    Its id, date and Message-ID are fixed when it is made, and everything else derives from them: it composes to the
    same octets in any process at any time.
    """

    id: str
    date_ms: int
    """The Date field, in milliseconds since 1970: when it was made, or when it is to be sent."""
    from_: Mailbox
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str | None
    headers: tuple[tuple[str, str], ...]
    message: Part | None
    html: Part | None
    text_from_html: bool
    calendar: Part | None
    attachments: tuple[Part, ...]
    inline: tuple[Part, ...]
    envelope_from: str | None
    notify: tuple[Notify, ...]
    ret: Ret | None
    envid: str | None
    relay: str | None
    send_at_ms: int | None
    """When to send it, in milliseconds since 1970; None for at once."""
    expires_in_ms: int
    """How long it is worth anything, counted from `send_at_ms`, or else from when it is accepted; 0 for ever."""
    priority: Priority
    idempotency_key: str | None
    on_uncertain: OnUncertain
    tags: tuple[str, ...]
    ready: Part | None
    """The whole message, when it came ready: see `from_bytes`."""
    merged: letter_json.Merged | None = field(init=False, repr=False, compare=False)
    """What it was made of, when it is one of a mail-merge: see `of_template`."""

    def __init__(
        self,
        to: AddressesInput | None = None,
        message: str | Part | IO[bytes] | IO[str] | None = None,
        *,
        from_: str | tuple[str, str] | Mailbox | None = None,
        subject: str | None = None,
        html: str | Part | None = None,
        cc: AddressesInput | None = None,
        bcc: AddressesInput | None = None,
        reply_to: AddressesInput | None = None,
        headers: Headers | None = None,
        attachments: Attachment | Iterable[Attachment] = (),
        inline: Mapping[str, Attachment] | None = None,
        calendar: str | bytes | Part | None = None,
        text_from_html: bool = True,
        list_unsubscribe: str | Iterable[str] | None = None,
        envelope_from: str | None = None,
        notify: Notify | Iterable[Notify] | None = None,
        ret: Ret | None = None,
        envid: str | None = None,
        relay: str | None = None,
        send_at: datetime | int | None = None,
        expires_in: float | timedelta | None = None,
        priority: Priority = "normal",
        idempotency_key: str | None = None,
        on_uncertain: OnUncertain = "resend",
        tags: str | Iterable[str] = (),
        id: str | None = None,  # noqa: A002  (the letter's own word)
        date_ms: int | None = None,
        ready: Part | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Make a letter of what is given, and check all of it.

        Args:
            to: an address, ``"Name <address>"``, a ``(name, address)`` pair, or an iterable of these.
            message: the text; or a part built by hand (`make_mime_part`), whose own header fields win over generated
                ones; or an open file with the text, in UTF-8.
            from_: the author; by default the setting POSTROOM_FROM.
            subject: the Subject, any text of one line.
            html: the same in HTML, as the richer alternative of the message.
            cc: further recipients, as `to`.
            bcc: recipients that stand in no header field, as `to`.
            reply_to: where answers go, as `to`.
            headers: further header fields, a mapping or pairs; a name that RFC 5322 §3.6 allows once wins over the
                generated field.
            attachments: paths, ``(file name, octets)`` pairs, open binary files, or parts.
            inline: what the html shows as ``cid:NAME``, by that name: as `attachments`.
            calendar: an invitation, the text of an .ics file: shown by calendars, and attached.
            text_from_html: when only html is given, make a readable text of it, as its plain alternative.
            list_unsubscribe: https: and mailto: URLs to unsubscribe by; with https: at one click (RFC 8058).
            envelope_from: the reverse-path, where reports of failure return; ``""`` or ``"<>"`` for the null one; by
                default the author's address.
            notify: what is reported to the reverse-path: ``success``, ``failure``, ``delay``, or several of these; or
                ``never``; by default what the relay likes (NOTIFY, RFC 3461 §4.1).
            ret: what a report of failure returns of the letter, ``full`` or ``headers`` (RET, RFC 3461 §4.3).
            envid: what reports name the letter by, up to 100 printable ASCII characters (ENVID, RFC 3461 §4.4).
            relay: the name of the relay to use, and no other; by default the worker chooses among those it has.
            send_at: when to send it: a datetime with a time zone, or milliseconds since 1970; by default at once.
            expires_in: seconds, or a timedelta, after which it is worthless and not sent, counted from `send_at`;
                without one, from when it is accepted; by default it never is.
            priority: ``normal``; ``bulk`` goes behind everything that is not.
            idempotency_key: up to 256 characters. Letters with the same key are one letter.
            on_uncertain: what to do when it may have been accepted: ``resend`` (the same octets) or ``hold``.
            tags: words to find and suspend letters by.
            id: the letter's id; by default a new one, or what follows from the idempotency key.
            date_ms: the Date, in milliseconds since 1970; by default now, or `send_at`.
            ready: a whole message, to be sent as it is: use `from_bytes`.
            settings: whose defaults and limits hold; by default those of the process.

        Raises:
            InvalidLetter: something cannot be sent; it names every problem.
        """
        limits = settings or process_settings()
        problems = Problems()
        now_ms = clock.wall_ms()
        given = {
            "idempotency_key": idempotency_key,
            "from_": limits.from_ if from_ is None else from_,
            "to": to,
            "cc": cc,
            "bcc": bcc,
            "reply_to": reply_to,
            "subject": subject,
            "headers": headers,
            "message": message,
            "html": html,
            "text_from_html": text_from_html,
            "calendar": calendar,
            "attachments": attachments,
            "inline": inline,
            "ready": ready,
            "envelope_from": envelope_from,
            "notify": notify,
            "ret": ret,
            "envid": envid,
            "relay": relay,
            "send_at_ms": send_at,
            "expires_in_ms": expires_in,
            "priority": priority,
            "on_uncertain": on_uncertain,
            "tags": tags,
            "date_ms": date_ms,
        }
        check = checks(limits.domain_literals, limits.letter_max)
        made: dict[str, Any] = dict(_LEFT_OUT)
        for name, value in given.items():
            if value is _DEFAULTS.get(name):
                continue
            try:
                made[name] = check[name](value, name.removesuffix("_ms"))
            except InvalidLetter as error:
                problems.extend(error.problems)
        with problems.collecting():
            made["id"] = keywords.identity((id, made["idempotency_key"], now_ms), "id")
        with problems.collecting():
            unsubscribe = keywords.list_unsubscribe(list_unsubscribe, "list_unsubscribe")
        problems.raise_if_any()
        vars(self).update(_whole(made, now_ms, unsubscribe))
        letter_rules.check(self, limits)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that it was made of: bodies, inline parts, attachments; or the ready message."""
        bodies = [part for part in (self.message, self.html, self.calendar, self.ready) if part is not None]
        return (*bodies, *self.inline, *self.attachments)

    @property
    def envelope(self) -> Envelope:
        """The reverse-path and the forward-paths, each recipient once, and what reports are asked for."""
        return self.envelope_to(self.recipients)

    def envelope_to(self, recipients: tuple[str, ...]) -> Envelope:
        """Return the envelope of a transaction for these forward-paths alone."""
        reverse_path = self.from_.address if self.envelope_from is None else self.envelope_from
        return Envelope(reverse_path, recipients, self.notify, self.ret or "", self.envid or "")

    @property
    def recipients(self) -> tuple[str, ...]:
        """The forward-paths, each recipient once."""
        return forward_paths(mailboxes((*self.to, *self.cc, *self.bcc)))

    @property
    def message_id(self) -> str:
        """The Message-ID, angle brackets and all: the caller's, or one that derives from the letter's id."""
        for name, value in self.headers:
            if name.lower() == "message-id":
                return value
        domain = self.from_.domain
        return f"<{self.id}@{domain if domain.startswith('[') else ascii_domain(domain, 'from')}>"

    def header_fields(self) -> list[bytes]:
        """Return the header fields, complete and in order, but for MIME's; the caller's win over generated ones."""
        given = {name.lower() for name, _ in self.headers}
        written = []
        if "from" not in given:
            written.append(header.address_list("From", (self.from_,)))
        for name, addresses in (("To", self.to), ("Cc", self.cc), ("Reply-To", self.reply_to)):
            if addresses and name.lower() not in given:
                written.append(header.address_list(name, addresses))
        if not self.to and not self.cc and "to" not in given:
            written.append(_UNDISCLOSED)
        if self.subject is not None and "subject" not in given:
            written.append(header.unstructured("Subject", self.subject))
        if "date" not in given:
            written.append(b"Date: %s\r\n" % _date(self.date_ms // 1000))
        if "message-id" not in given:
            written.append(header.structured("Message-ID", self.message_id))
        written.extend(header.field_octets(name, value) for name, value in self.headers)
        return written

    def octets(self, read: Callable[[Stored], bytes] = nowhere) -> list[bytes]:
        """Return the whole message in chunks, as it goes over the wire but for dot-stuffing.

        Args:
            read: gives the octets of contents that are stored beside the letter.
        """
        if self.ready is not None:
            content = self.ready.content
            if isinstance(content, bytes):
                return [content]
            return [ready_messages.check(read(content), "ready")]
        return compose.message(self.header_fields(), self.shape(), self.id, read)

    def shape(self) -> Part:
        """Return the one part that its parts make."""
        return compose.shape(self.message, self.html, self.calendar, self.inline, self.attachments)

    def as_bytes(self) -> bytes:
        """Return the whole message, with CRLF line ends."""
        return joined(self.octets())

    def as_string(self) -> str:
        """Return the whole message as text, for looking at; octets that are no UTF-8 show as U+FFFD."""
        return self.as_bytes().decode("utf-8", "replace")

    @classmethod
    def from_bytes(
        cls,
        raw: bytes | Message,
        *,
        to: AddressesInput | None = None,
        envelope_from: str | None = None,
        **keywords_: Any,
    ) -> Self:
        """Return a letter that is a ready message: it is sent as it is, but for line ends, dot-stuffing and Bcc.

        Args:
            raw: an .eml's octets, or a message of the standard library's ``email``.
            to: the recipients; by default those that its To, Cc and Bcc name.
            envelope_from: the reverse-path; by default its Sender's address, or its From's.
            keywords_: further keywords of `Letter`: when and how to send it.

        Raises:
            InvalidLetter: it is no message, or cannot be sent.
        """
        values, part = ready_messages.split(ready_messages.octets_of(raw))
        if "from_" not in keywords_ or envelope_from is None:
            authors = ready_messages.named(values, "sender") or ready_messages.named(values, "from")
            author = authors[0] if authors else None
            keywords_.setdefault("from_", author)
            if envelope_from is None and author is not None:
                envelope_from = author.address
        keywords_.setdefault("subject", ready_messages.subject(values))
        recipients = ready_messages.named(values, "to", "cc", "bcc") if to is None else to
        return cls(recipients, envelope_from=envelope_from, ready=part, **keywords_)

    def to_json(self) -> bytes:
        """Return the letter as JSON, with everything in it, as `from_json` and the task ``postroom.accept`` read it."""
        return letter_json.encode(self)

    @classmethod
    def of_template(
        cls, template: letter_json.Template, given: Fields, settings: Settings | None = None, **own: Any
    ) -> Self:
        """Return the letter that a template makes with these fields: use `postroom.merge`.

        Args:
            template: what the letters of the mail-merge have in common.
            given: the fields of this one.
            settings: whose limits hold; by default those of the process.
            own: `id` and `date_ms`, where they are not new.

        Raises:
            InvalidLetter: a field is missing, or what they say cannot be sent.
        """
        letter = cls(**as_given(fields.filled(template.keywords, given)), **own, settings=settings)
        object.__setattr__(letter, "merged", letter_json.Merged(template, given))
        return letter

    @classmethod
    def from_json(cls, text: bytes | str, settings: Settings | None = None, *, default_id: str | None = None) -> Self:
        """Return the letter that this JSON describes, checked as strictly as at the caller.

        Args:
            text: the JSON.
            settings: whose defaults and limits hold; by default those of the process.
            default_id: the id of a letter that has neither an id nor an idempotency key; by default a new one.

        Raises:
            InvalidLetter: it cannot be read, or what it describes cannot be sent.
        """
        found, problems = letter_json.decode(text)
        if default_id is not None and not (found.get("id") or found.get("idempotency_key")):
            found["id"] = default_id
        with problems.collecting():
            letter = cls(**as_given(found), settings=settings)
        problems.raise_if_any()
        return letter


def as_given(keywords_: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords as a caller writes them: times by their other names, and in seconds."""
    given = {name: value for name, value in keywords_.items() if name not in ("send_at_ms", "expires_in_ms")}
    given["send_at"] = keywords_.get("send_at_ms")
    expires_in_ms = keywords_.get("expires_in_ms")
    given["expires_in"] = None if expires_in_ms is None else expires_in_ms / 1000
    return given


def _is_of_parts(pair: tuple[str, str]) -> bool:
    return pair[0].lower().startswith("content-")


def _text_of(html: Part) -> str | None:
    """A text made of the first html in a body that may be built by hand; None when there is none at hand."""
    for part in html.walk():
        if part.content_type == "text/html":
            return plain_text.from_html(part.text) if isinstance(part.content, bytes) else None
    return None


@lru_cache(maxsize=8)
def checks(literals: bool, max_octets: int) -> dict[str, Callable[[Any, str], object]]:
    """What each keyword becomes, and is refused by, under these limits; in the order in which problems are told."""
    addresses = partial(keywords.addresses, literals=literals)
    return {
        "idempotency_key": keywords.key,
        "from_": partial(keywords.author, literals=literals),
        "to": addresses,
        "cc": addresses,
        "bcc": addresses,
        "reply_to": addresses,
        "subject": keywords.subject,
        "headers": keywords.headers,
        "message": partial(keywords.message, max_octets=max_octets),
        "html": keywords.html,
        "text_from_html": keywords.flag,
        "calendar": keywords.calendar,
        "attachments": partial(keywords.attachments, max_octets=max_octets),
        "inline": partial(keywords.inline, max_octets=max_octets),
        "ready": keywords.ready_message,
        "envelope_from": partial(keywords.reverse_path, literals=literals),
        "notify": keywords.notify,
        "ret": keywords.ret,
        "envid": keywords.envid,
        "relay": keywords.name_of_relay,
        "send_at_ms": keywords.moment_ms,
        "expires_in_ms": keywords.span_ms,
        "priority": keywords.one_of(keywords.PRIORITIES),
        "on_uncertain": keywords.one_of(keywords.POLICIES),
        "tags": keywords.tags,
        "date_ms": keywords.moment_ms,
    }


def _whole(made: dict[str, Any], now_ms: int, unsubscribe: Pairs) -> dict[str, Any]:
    """Add what follows from what was given: header fields from elsewhere, the text of the html, the date.

    Raises:
        InvalidLetter: a field is given twice, or the Date is none.
    """
    lifted: list[tuple[str, str]] = []
    for body in ("message", "html", "calendar"):
        part = made[body]
        if part is not None and part.headers and (theirs := [pair for pair in part.headers if not _is_of_parts(pair)]):
            # The fields of a part built by hand are the letter's; those of MIME stay with the part.
            lifted += theirs
            made[body] = replace(part, headers=tuple(filter(_is_of_parts, part.headers)))
    if unsubscribe or lifted:
        made["headers"] = keywords.headers([*made["headers"], *unsubscribe, *lifted], "headers")
    if made["html"] is not None and made["message"] is None and made["text_from_html"]:
        text = _text_of(made["html"])
        made["message"] = None if text is None else make_mime_part(text=text)
    given_ms = keywords.date_of(made["headers"])
    if given_ms is not None:
        made["date_ms"] = given_ms
    elif made["date_ms"] is None:
        made["date_ms"] = max(made["send_at_ms"] or 0, now_ms)
    return made | {"merged": None}


_DEFAULTS: dict[str, object] = {
    "text_from_html": True,
    "attachments": (),
    "priority": "normal",
    "on_uncertain": "resend",
    "tags": (),
}
"""Keywords that are something else than None when they are left out."""
_NONE: tuple[str, ...] = ("subject", "message", "html", "calendar", "ready", "envelope_from", "ret", "envid", "relay")
_LEFT_OUT: dict[str, object] = {
    **dict.fromkeys(("to", "cc", "bcc", "reply_to", "headers", "inline", "notify"), ()),
    **dict.fromkeys((*_NONE, "send_at_ms", "date_ms", "idempotency_key"), None),
    "expires_in_ms": 0,
    **_DEFAULTS,
}
"""What keywords become that are left out: most are, and are not worth a call."""
_UNDISCLOSED = b"To: undisclosed-recipients:;\r\n"


@lru_cache(maxsize=4)
def _date(seconds: int) -> bytes:
    """A date as RFC 5322 §3.3 writes it, in UTC; letters of one second share it."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC)).encode()
