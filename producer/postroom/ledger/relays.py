"""What all workers know of a relay together: whether it is left alone, how much it takes, and who has a place there.

The breaker of a relay is `closed` (it serves), `open` (it was found down, and is left alone until a time), or
`half-open` (that time is over, and one letter probes it). What an operator suspends is no matter of the breaker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from postroom.ledger.availability import available
from postroom.ledger.keys import Keys
from postroom.ledger.record import text
from postroom.ledger.scripts import Argument, Call, Scripts

REMEMBERED_MS = 86_400_000
"""How long refusals in a row are remembered without a further one."""
_SLOWEST_PER_S = 0.1
"""What a relay is slowed to at the most."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a relay stands with us."""

    state: Literal["closed", "open", "half-open", "probe"]
    """`probe`: it was down, and it is the asker's to find out whether it still is."""
    left_ms: int = 0
    """Until it may be asked for again."""
    why: str = ""
    trips: int = 0
    """How many times in a row it was found down."""
    refusals: int = 0
    """How many letters in a row it refused with one and the same answer about us."""
    sessions: int = 0
    """How many sessions all workers together have there."""
    is_wanted: bool = False
    """True while another process waits for one of its sessions to end."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Letters a second that it takes for now, by recipient domain (empty: from us at all), where it asked for less."""
    since_ms: int = 0
    """When it was first found down, of those times in a row, in milliseconds since 1970; 0 while it serves."""

    @property
    def is_open_to_us(self) -> bool:
        """True when a letter may go there now."""
        return self.state in ("closed", "probe")

    def later(self, left_ms: float) -> Standing:
        """Return the same, with so much time left."""
        return replace(self, left_ms=max(1, int(left_ms)))


@dataclass(frozen=True, slots=True)
class Demand:
    """What a limit has to have left: a token of a bucket (`rate`), or a place in a set (`places`)."""

    key: str
    kind: Literal["rate", "places"]
    limit: float
    """Letters (or connections) a second; or how many at once."""
    wait_ms: int
    """For places, when to ask again; for a rate, how long a token is kept for one who waits in line."""


@dataclass(frozen=True, slots=True)
class Relays:
    """What is shared of the relays."""

    scripts: Scripts
    keys: Keys

    def knock(self, relay: str, nonce: str, probe_ms: int, rise_ms: int) -> Standing:
        """Ask whether a relay may be used now; after a pause, the first to ask is the one to probe it.

        Args:
            relay: its name.
            nonce: the asker's; empty to look only.
            probe_ms: how long the probe may take, until another takes its place.
            rise_ms: in how long a slowed rate doubles.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        keys = [
            self.keys.relay_breaker(relay),
            self.keys.relay_slowed(relay),
            self.keys.relay_refusals(relay),
            self.keys.relay_sessions(relay),
            self.keys.relay_wanted(relay),
        ]
        with available():
            answer = self.scripts.run(Call("knock", keys, [nonce, probe_ms]))
        state, left_ms, why, trips, since_ms, refusals, sessions, wanted, now_ms, *slowed = map(text, answer)
        rates = {domain: rate_now(kept, int(now_ms), rise_ms) for domain, kept in zip(*[iter(slowed)] * 2, strict=True)}
        return Standing(
            cast("Literal['closed']", state),
            int(left_ms),
            why,
            int(trips),
            int(refusals),
            int(sessions),
            wanted == "1",
            {domain: rate for domain, rate in rates.items() if rate is not None},
            int(since_ms),
        )

    def standing(self, relay: str, rise_ms: int = 60_000) -> Standing:
        """Return how a relay stands, for those who only look.

        Args:
            relay: its name.
            rise_ms: in how long a slowed rate doubles.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        return self.knock(relay, "", 0, rise_ms)

    def trip(self, relay: str, wait_ms: int, why: str, *, alert: bool = False) -> int:
        """Leave a relay alone; one that is left alone already is not for longer.

        Args:
            relay: its name.
            wait_ms: for how long.
            why: what the operator is told.
            alert: whether an operator has to act.

        Returns:
            how long it is left alone from now, in milliseconds.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        call = Call("trip", [self.keys.relay_breaker(relay)], [wait_ms, why, "1" if alert else ""])
        with available():
            return int(self.scripts.run(call))

    def mend(self, relay: str, nonce: str, remember_ms: int) -> bool:
        """Say that the probe was served; False when another probes by now.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with available():
            return bool(self.scripts.run(Call("mend", [self.keys.relay_breaker(relay)], [nonce, remember_ms])) == 1)

    def pass_probe(self, relay: str, nonce: str) -> bool:
        """Say that the probe was not sent after all; False when another probes by now.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with available():
            return bool(self.scripts.run(Call("pass_probe", [self.keys.relay_breaker(relay)], [nonce])) == 1)

    def trust(self, relay: str) -> None:
        """Forget that a relay was down, refused us, or asked for less.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with available():
            self.scripts.redis.delete(
                self.keys.relay_breaker(relay),
                self.keys.relay_slowed(relay),
                self.keys.relay_refusals(relay),
            )

    def slow(self, relay: str, domain: str, measured_per_s: float, rise_ms: int) -> float:
        """Halve the rate of a relay, or of a recipient domain there; returns it, in letters a second.

        Args:
            relay: its name.
            domain: the recipient domain; empty for all.
            measured_per_s: the rate at which it was used when it asked for less.
            rise_ms: in how long the rate doubles again.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        arguments: list[Argument] = [domain, f"{max(measured_per_s, 1):.3f}", str(_SLOWEST_PER_S), rise_ms]
        with available():
            return float(self.scripts.run(Call("slow", [self.keys.relay_slowed(relay)], arguments)))

    def refuse(self, relay: str, answer: str) -> int:
        """Count a refusal about us; returns how many with this answer there were in a row.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        call = Call("refuse", [self.keys.relay_refusals(relay)], [answer, REMEMBERED_MS])
        with available():
            return int(self.scripts.run(call))

    def serves(self, relay: str) -> None:
        """Say that a relay accepted a letter: the row of refusals is over.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with available():
            self.scripts.redis.delete(self.keys.relay_refusals(relay))

    def admit(
        self, demands: Sequence[Sequence[Demand]], member: str, lease_ms: int, *, bulk: Sequence[bool]
    ) -> list[tuple[int, str]]:
        """Ask for everything that letters need of the limits, in one round trip; each gets all of it, or nothing.

        Args:
            demands: what each needs, all of one relay.
            member: whose places they are.
            lease_ms: how long a place is held without being kept.
            bulk: for each, whether it stands behind those that are not.

        Returns:
            for each, how long it has to wait, in milliseconds (0: it may go), and for which key.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        calls = []
        for each, is_bulk in zip(demands, bulk, strict=True):
            arguments: list[Argument] = [member, lease_ms, "1" if is_bulk else ""]
            for demand in each:
                arguments += [demand.kind, f"{demand.limit:.6f}", demand.wait_ms]
            calls.append(Call("admit", [demand.key for demand in each], arguments))
        with available():
            return [(int(answer[0]), text(answer[1]) if answer[0] else "") for answer in self.scripts.run_all(calls)]

    def want(self, relay: str, for_ms: int) -> None:
        """Ask those who keep a session with a relay, and have nothing to send, to end it.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with available():
            self.scripts.redis.set(self.keys.relay_wanted(relay), 1, px=for_ms)

    def keep_places(self, places: Sequence[tuple[str, str]], lease_ms: int) -> None:
        """Prolong places, each given as key and member.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with available():
            self.scripts.run_all([Call("keep_places", [key], [lease_ms, member]) for key, member in places])

    def leave(self, places: Sequence[tuple[str, str]]) -> None:
        """Give places back, each given as key and member.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        pipeline = self.scripts.redis.pipeline(transaction=False)
        for key, member in places:
            pipeline.zrem(key, member)
        with available():
            pipeline.execute()


def rate_now(kept: str, now_ms: int, rise_ms: int) -> float | None:
    """Return a slowed rate as it is by now, in letters a second; None when it has risen to what it was.

    Args:
        kept: the rate that it was slowed to, when (in milliseconds), and the rate before.
        now_ms: Redis's time.
        rise_ms: in how long the rate doubles.
    """
    rate, since_ms, full = map(float, kept.split())
    risen: float = rate * 2 ** min(60, max(0, now_ms - since_ms) / rise_ms)
    return risen if risen < full else None
