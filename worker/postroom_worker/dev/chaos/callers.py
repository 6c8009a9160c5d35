"""Who the chaos run's letters come from: callers who hand them in, and an operator who acts on them at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random

from postroom import LedgerUnavailable, Letter, LetterState, PartlySent, Postroom, Receipt, TooLate, operate
from postroom.bell import AWAY
from postroom.ledger import Bell, Ledger, views
from postroom.ledger.connection import FOREVER_MS
from postroom_worker.dev.chaos.accounts import UNCERTAIN
from postroom_worker.dev.server import wait_until

BUSY = 30
"""How many letters the workers have before them, at most."""
_QUIET_PART = 1 / 12
"""How often they have none before the next comes."""
_ACTS_PART = 1 / 2
"""How often the operator acts, after letters were handed in."""
_ACTS: tuple[tuple[str, Callable[[Ledger, str], Bell | None]], ...] = (
    ("cancel", operate.cancel),
    ("hold", operate.hold),
    ("release", operate.release),
    ("flush", operate.flush),
    ("retry", operate.retry),
)
_FILES = {name: Random(name).randbytes(size) for name, size in {"small": 2_000, "large": 120_000}.items()}


def letters(random: Random) -> Iterator[Letter]:
    """Yield letters to one, two or three, of either policy; some carry octets that are kept beside them."""
    for number in count():
        names = random.choices(("ok", "grey", "refused"), (8, 1, 1), k=random.randint(1, 3))
        files = [(name, _FILES[name]) for name in random.choices(("", "small", "large"), (6, 1, 2)) if name]
        yield Letter(
            [f"{name}-{number}-{place}@example.com" for place, name in enumerate(names)],
            f"letter {number}",
            from_="bob@example.org",
            attachments=files,
            relay=random.choice((None, None, None, "first")),
            on_uncertain=random.choice(("resend", "hold")),
        )


@dataclass(slots=True)
class Callers:
    """All of them."""

    postroom: Postroom
    random: Random
    patience_s: float
    receipts: list[str] = field(default_factory=list)
    """The ids of the letters that they were told are accepted."""
    acts: Counter[str] = field(default_factory=Counter)
    """What the operator did, and how often."""
    _letters: Iterator[Letter] = field(init=False)
    _to_resend: list[str] = field(default_factory=list)
    """Those that may be mailed twice, if nobody knows better."""
    _held: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._letters = letters(self.random)

    def hand_in(self, *, is_quiet: bool | None = None) -> None:
        """Hand some letters in, one or in bulk, in quiet or in busy times."""
        quiet = self.random.random() < _QUIET_PART if is_quiet is None else is_quiet
        most = 1 if quiet else BUSY
        wait_until(lambda: unsettled(self.postroom.ledger) < most, "the workers go on", self.patience_s)
        some = list(islice(self._letters, self.random.choice((1, 1, 1, self.random.randint(2, 12)))))
        wait_until(lambda: self._accepted(some), "Redis takes letters", self.patience_s)
        self.receipts += [each.id for each in some]
        self._to_resend += [each.id for each in some if each.on_uncertain == "resend"]

    def _accepted(self, some: list[Letter]) -> list[Receipt]:
        """Hand letters in; who is not told that they are accepted tries again."""
        try:
            return self.postroom.send_letters(some) if len(some) > 1 else [self.postroom.send(some[0])]
        except (LedgerUnavailable, PartlySent):
            return []

    def act(self) -> None:
        """Now and then, cancel, hold, release, flush or retry a letter; whatever it is, it may be too late for it."""
        if self.random.random() > _ACTS_PART:
            return
        ledger = self.postroom.ledger
        verb, do = self.random.choice(_ACTS)
        with suppress(TooLate, LedgerUnavailable):
            chosen = self._candidates(verb)
            if not chosen:
                return
            letter_id = self.random.choice(chosen)
            if verb == "hold":  # which may be done, and its answer lost
                self._held.add(letter_id)
            bell = do(ledger, letter_id)
            self.acts[verb] += 1
            if bell:
                self._ring(bell)

    def _candidates(self, verb: str) -> list[str]:
        """Return letters for which it may not be too late."""
        if verb == "release":
            return self._held_by_us()
        if verb == "retry":
            # Whether a letter that may have been accepted is sent again is decided by its policy, not by luck.
            return self._to_resend
        states = (LetterState.DEFERRED,) if verb == "flush" else (LetterState.QUEUED, LetterState.DEFERRED)
        return [each.id for state in states for each in views.listing(self.postroom.ledger, state)]

    def release(self) -> None:
        """Release all that the operator holds."""
        for letter_id in self._held_by_us():
            with suppress(TooLate):
                bell = operate.release(self.postroom.ledger, letter_id)
                if bell:
                    self._ring(bell)
        self._held.clear()

    def _held_by_us(self) -> list[str]:
        """Return what the operator holds: not what is held since it may have been accepted."""
        found = views.present(self.postroom.ledger, sorted(self._held))
        return [each.id for each in found.values() if not each.reason.startswith(UNCERTAIN)]

    def _ring(self, bell: Bell) -> None:
        with suppress(*AWAY):  # the timer rings it, then
            self.postroom.bells.ring(bell)


def unsettled(ledger: Ledger) -> float:
    """Return to how many letters something will still happen by itself."""
    try:
        return sum(number for state, number in views.counts(ledger).items() if not state.is_settled)
    except LedgerUnavailable:
        return float("inf")


def forget_all(ledger: Ledger) -> None:
    """Have every letter forgotten: those held are cancelled first."""
    for held in views.scan(ledger, LetterState.HELD):
        operate.cancel(ledger, held.id)
    for state in LetterState:
        for letter in views.scan(ledger, state):
            ledger.forget(letter.id, state, early_ms=FOREVER_MS)
