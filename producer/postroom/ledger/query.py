"""Queries: which letters somebody looks for. Pure: whether a letter is one of them is told by its status."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from postroom.address import domain_of
from postroom.ledger.record import LetterStatus, RecipientStatus
from postroom.states import LetterState

_CODES = re.compile(r"(?:^|: )(\d{3})(?: (\d\.\d{1,3}\.\d{1,3}))?(?: |$)", re.ASCII)
_PATTERN = re.compile(r"[2-5][\dx]{2}|[245]\.(?:\d{1,3}|x)\.(?:\d{1,3}|x)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Letters that are in one of these states and of which all else holds that is given."""

    states: Sequence[LetterState]
    tags: Sequence[str] = ()
    """At least one of them."""
    recipient: str = ""
    """Somebody it goes to: an address, or a domain, in any script or in A-labels. Case does not count."""
    code: str = ""
    """What was last said about this recipient, or about anybody: ``451``, ``4xx``, ``4.7.1`` or ``5.x.x``."""
    relay: str = ""
    """The relay that it was last tried through, or had to wait for."""
    since_ms: int = 0
    """Accepted then or later, in milliseconds since 1970."""
    before_ms: int = 0
    """Accepted before that; 0 for any time."""

    @property
    def is_narrow(self) -> bool:
        """Whether it asks for more than the state, so that every letter has to be looked at."""
        return bool(self.tags or self.recipient or self.code or self.relay or self.since_ms or self.before_ms)

    def is_met_by(self, letter: LetterStatus) -> bool:
        """Say whether a letter is one of those that are looked for."""
        accepted_ms = letter.accepted_at * 1000
        return (
            letter.state in self.states
            and self.since_ms <= accepted_ms
            and (not self.before_ms or accepted_ms < self.before_ms)
            and self.relay in ("", letter.relay)
            and (not self.tags or not set(self.tags).isdisjoint(letter.tags))
            and (not (self.recipient or self.code) or any(self._is_about(*each) for each in letter.recipients.items()))
        )

    def _is_about(self, address: str, recipient: RecipientStatus) -> bool:
        return (not self.recipient or _is_at(address, self.recipient)) and (
            not self.code or any(_fits(code, self.code) for code in codes(recipient.reply))
        )


def codes(reply: str) -> tuple[str, str]:
    """Return the reply code and the enhanced status code that a reply begins with; empty where there is none."""
    found = _CODES.search(reply)
    return (found[1], found[2] or "") if found else ("", "")


def is_code_pattern(text: str) -> bool:
    """Say whether this can be a query's `code`."""
    return bool(_PATTERN.fullmatch(text))


def _fits(code: str, pattern: str) -> bool:
    return bool(code) and bool(re.fullmatch(re.sub("x", r"\\d+", pattern.replace(".", r"\.")), code))


def _is_at(address: str, wanted: str) -> bool:
    local = wanted.rpartition("@")[0].lower()
    return domain_of(address) == domain_of(wanted) and local in ("", address.rpartition("@")[0].lower())
