"""When to try again: exponential waits with jitter, pure."""

from __future__ import annotations

from dataclasses import dataclass

from postroom.settings import Settings


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after each attempt."""

    first_s: float
    max_s: float

    @classmethod
    def of_letters(cls, settings: Settings) -> Backoff:
        """The waits between the attempts of a letter (RFC 5321 §4.5.4.1)."""
        return cls(settings.retry_first_s, settings.retry_max_s)

    @classmethod
    def of_relays(cls, settings: Settings) -> Backoff:
        """The waits for a relay that is down."""
        return cls(settings.pause_first_s, settings.pause_max_s)

    def wait_ms(self, attempt: int, random: float) -> int:
        """Return the wait after an attempt, in milliseconds.

        Args:
            attempt: 1 for the first one; each further one waits twice as long, up to the longest.
            random: a number from 0 to 1: the wait is drawn from the upper half of its span, so that letters deferred
                together do not come back together.
        """
        doublings = min(max(attempt, 1) - 1, 60)
        span = min(self.max_s, self.first_s * 2**doublings)
        return int(1000 * span * (0.5 + random / 2))
