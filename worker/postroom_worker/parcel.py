"""A parcel: a claimed letter on its way out, in one attempt; what was answered so far, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from postroom import clock
from postroom.envelope import Envelope
from postroom.ledger import Claim, Finish, Recipient
from postroom.letter import Letter
from postroom.reply import printable
from postroom_worker import limits, settlement
from postroom_worker.limits import Wait
from postroom_worker.outcome import Answer, Outcome, Phase, outcome
from postroom_worker.relay import Relay


@dataclass(slots=True, eq=False)
class Parcel:
    """A letter in hand."""

    claim: Claim
    letter: Letter
    relays: Sequence[Relay]
    """Those that may take it and were not tried in this attempt, in order of failover."""
    left: list[str] = field(init=False)
    """The recipients that have no answer yet in this attempt."""
    answers: dict[str, Answer] = field(default_factory=dict)
    content: Sequence[bytes] = ()
    """Composed and signed, as soon as it is needed."""
    turned_away: list[tuple[str, str]] = field(default_factory=list)
    """The relays that were down in this attempt, and what they said."""
    began_s: float = field(default_factory=clock.steady_s)
    submitted_s: float = 0.0
    """When its first transaction began; 0 before."""
    is_in_window: bool = False
    """True while its end may have been sent, and its answer is not known."""

    def __post_init__(self) -> None:
        self.left = [each.address for each in self.claim.recipients if each.state.is_open]

    @property
    def is_bulk(self) -> bool:
        """True when it stands behind the letters sent alone."""
        return self.claim.queue.endswith(".bulk")

    def since_claim_ms(self) -> int:
        """Return how long ago it was claimed."""
        return int(1000 * (clock.steady_s() - self.claim.claimed_s))

    def took_ms(self) -> int:
        """Return how long the attempt has taken so far."""
        return int(1000 * (clock.steady_s() - self.began_s))

    def too_late(self) -> str:
        """Return why it is too late to send it; empty when it is not."""
        return settlement.too_late(self.claim, self.since_claim_ms())

    def envelope(self, relay: Relay) -> Envelope:
        """Return the envelope of its next transaction."""
        return self.letter.envelope_to(tuple(limits.transaction(relay, self.left)))

    def take(self, answers: dict[str, Answer]) -> bool:
        """Take in the answers of a transaction; True when there are recipients left for another one.

        Too many at once (RFC 5321 §4.5.3.1.10) leaves the others for a transaction of their own, if anybody was served.
        """
        over = {path for path, answer in answers.items() if _is_overflow(answer)}
        if len(over) == len(answers):
            over = set()
        self.answers |= {path: answer for path, answer in answers.items() if path not in over}
        self.left = [path for path in self.left if path not in self.answers]
        return bool(self.left)

    def turn_away(self, relay: Relay, answer: Answer) -> None:
        """Take note that a relay was down: who was not decided there is left for the next one."""
        self.turned_away.append((relay.name, printable(str(answer))))
        self.relays = [each for each in self.relays if each != relay]
        decided = {
            path: each for path, each in self.answers.items() if outcome(each).outcome is not Outcome.PAUSE_RELAY
        }
        self.left += [path for path in self.answers if path not in decided]
        self.answers = decided

    def put_off(self, wait: Wait) -> Finish:
        """Return what the ledger records when it has to wait now; who was served in this attempt stays so."""
        finish = settlement.wait(self.claim, wait.ms, wait.why, self.recipients())
        return replace(finish, relay=wait.relay, prolong_ms=wait.ms if wait.is_suspension else 0)

    def recipients(self) -> Sequence[Recipient] | None:
        """Return the recipients as they are by now, or None when nothing was decided in this attempt."""
        if not self.answers:
            return None
        return settlement.settled(self.claim.recipients, self.answers)


def _is_overflow(answer: Answer) -> bool:
    return answer.phase is Phase.RCPT and str(answer.met)[:9] in ("452 4.5.3", "552 5.5.3")
