"""What many letters have in common: what was said about them, by whom they are awaited, how old they are. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from postroom.address import domain_of
from postroom.cli.look import REASONED
from postroom.ledger import LetterStatus, RecipientStatus
from postroom.ledger.query import codes
from postroom.reply import gist
from postroom.states import LetterState, RecipientState

AGES_MIN = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""The ages that a shape tells apart, in minutes: as Postfix's qshape does."""

_WORDS_MAX = 160


@dataclass(slots=True)
class Tally:
    """Counts over the letters that were looked at."""

    letters: Counter[LetterState] = field(default_factory=Counter)
    reasons: Counter[tuple[LetterState, str]] = field(default_factory=Counter)
    """Letters, by state and what was said about somebody who did not get it."""
    relays: Counter[str] = field(default_factory=Counter)
    """Letters, by the relay that they were last tried through, or have to wait for."""
    codes: Counter[str] = field(default_factory=Counter)
    """Recipients that did not get it, by reply code and enhanced status code."""
    domains: Counter[str] = field(default_factory=Counter)
    """Recipients that did not get it, by domain."""
    shape: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Recipients that did not get it, by domain and by the place of the letter's age in `AGES_MIN`."""

    def add(self, letters: Iterable[LetterStatus], now_s: float) -> None:
        """Count these letters in.

        Args:
            letters: taken one by one.
            now_s: Redis's time, in seconds since 1970.
        """
        for letter in letters:
            self.letters[letter.state] += 1
            self.relays.update(filter(None, [letter.relay]))
            left = {who: each for who, each in letter.recipients.items() if each.state is not RecipientState.ACCEPTED}
            age = _place((now_s - letter.accepted_at) / 60)
            for domain, number in Counter(map(domain_of, left)).items():
                self.domains[domain] += number
                self.shape[domain][age] += number
            self.codes.update(filter(None, (" ".join(codes(each.reply)).strip() for each in left.values())))
            self.reasons.update((letter.state, reason) for reason in _reasons(letter, left.values()))


def _reasons(letter: LetterStatus, left: Collection[RecipientStatus]) -> set[str]:
    if letter.state in REASONED and letter.reason:
        return {gist(letter.reason, _WORDS_MAX)}
    said = {gist(each.reply, _WORDS_MAX) for each in left if each.reply}
    return said or ({gist(letter.reason or "not tried yet", _WORDS_MAX)} if left else set())


def _place(minutes: float) -> int:
    return sum(minutes >= age for age in AGES_MIN)
