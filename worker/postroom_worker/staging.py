"""Staging: letters go to one address in place of their recipients, or are held until somebody lets them go.

Both belong to the worker, the one place that mails anybody: so they hold whatever application a letter came from, and
for letters of a ledger that was copied here. What counts is how the worker is set when it sends, on retries too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec import structs

from postroom.address import ascii_domain, domain_of, parse_mailbox
from postroom.envelope import Envelope
from postroom.errors import InvalidLetter, InvalidSettings
from postroom.finding import Finding, bad, warn
from postroom.ledger import Ledger
from postroom.ledger.views import account
from postroom.mime.header import unstructured
from postroom.reply import Reply
from postroom.settings import Settings
from postroom_worker.outcome import Answer

FIELD: Final = "X-Original-To"
"""The header field that names a recipient in whose place another got the letter."""
HELD: Final = "POSTROOM_HOLD_ALL is set"
"""Why a letter is held that waits to be let go by hand."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Who gets letters in place of their recipients."""

    to: str = ""
    """The address; empty: nothing is redirected."""
    spared: frozenset[str] = frozenset()
    """Addresses and domains that get their letters themselves; domains in lower case and A-labels."""

    @classmethod
    def of(cls, settings: Settings) -> Redirect:
        """Return what POSTROOM_REDIRECT_ALL and POSTROOM_REDIRECT_EXCEPT say.

        Raises:
            InvalidSettings: they cannot be read, or only the exceptions are set. Nothing may be sent then: it would go
                to real people.
        """
        if not settings.redirect_all:
            if settings.redirect_except:
                raise InvalidSettings(
                    "POSTROOM_REDIRECT_EXCEPT is set, and POSTROOM_REDIRECT_ALL is not: set both, or neither"
                )
            return cls()
        try:
            to = parse_mailbox(settings.redirect_all, "POSTROOM_REDIRECT_ALL").address
            spared = settings.redirect_except.replace(",", " ").split()
            return cls(to, frozenset(_address_or_domain(each) for each in spared))
        except InvalidLetter as error:
            raise InvalidSettings(str(error)) from None

    def redirects(self, address: str) -> bool:
        """True when somebody else gets what is sent to an address."""
        return bool(self.to) and not {_canonical(address), domain_of(address)} & self.spared

    def redirected(self, envelope: Envelope) -> Envelope:
        """Return the envelope of what really goes out."""
        if not self.to:
            return envelope
        paths = [self.to if self.redirects(each) else each for each in envelope.recipients]
        return structs.replace(envelope, recipients=tuple(dict.fromkeys(paths)))

    def fields(self, recipients: Sequence[str]) -> list[bytes]:
        """Return the header fields that name those in whose place another gets the letter."""
        return [unstructured(FIELD, each) for each in recipients if self.redirects(each)]

    def told(self, recipients: Sequence[str], answers: dict[str, Answer]) -> dict[str, Answer]:
        """Return the answers by the recipients that the letter was written to; each tells that it was redirected.

        Args:
            recipients: those of the envelope, before it was redirected.
            answers: those of the transaction; none when it did not take place.
        """
        if not self.to or not answers:
            return answers
        return {each: self._marked(answers[self.to]) if self.redirects(each) else answers[each] for each in recipients}

    def _marked(self, answer: Answer) -> Answer:
        mark = f"(redirected to {self.to})"
        if isinstance(answer.met, Reply):
            return structs.replace(answer, met=replace(answer.met, text=f"{mark} {answer.met.text}".strip()))
        return structs.replace(answer, detail=f"{mark} {answer.detail}".strip())


def must_be_held(ledger: Ledger, letter_id: str) -> bool:
    """True unless the letter was held for POSTROOM_HOLD_ALL before: then somebody has let it go.

    Raises:
        LedgerUnavailable: Redis is away.
    """
    return not any(each["event"] == "held" and each.get("why") == HELD for each in account(ledger, letter_id).history)


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what an operator has to know: that letters do not go where they are addressed to."""
    try:
        redirect = Redirect.of(settings)
    except InvalidSettings as error:
        yield bad("staging", str(error), "until then no worker starts")
        return
    if redirect.to:
        but = f", but for {len(redirect.spared)} addresses and domains" if redirect.spared else ""
        yield warn(
            "staging",
            f"all letters go to {redirect.to}{but}",
            "before you unset POSTROOM_REDIRECT_ALL, cancel the letters that wait: they would go to their recipients",
        )
    if settings.hold_all:
        yield warn("staging", "every letter is held", "let them go with `postroom release`, or unset POSTROOM_HOLD_ALL")


def _canonical(address: str) -> str:
    return f"{address.rpartition('@')[0].lower()}@{domain_of(address)}"


def _address_or_domain(text: str) -> str:
    field = "POSTROOM_REDIRECT_EXCEPT"
    return _canonical(parse_mailbox(text, field).address) if "@" in text else ascii_domain(text, field)
