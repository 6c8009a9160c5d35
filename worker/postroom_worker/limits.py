"""Limits: what a relay allows, of all workers together, and the places that this process has of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from threading import Lock

import msgspec

from postroom.address import domain_of
from postroom.errors import LedgerUnavailable
from postroom.ledger import Ledger
from postroom.ledger.relays import Demand, Standing
from postroom_worker import chance
from postroom_worker.relay import Relay

log = logging.getLogger("postroom")

_PLACE_WAIT_MS = 1000
"""When to ask again for a place."""
_TOKEN_KEPT_MS = 2000
"""How long a token is kept for a letter that waits in line: the schedule is looked at once a second."""
_NO_LIMIT = 1_000_000


class Wait(msgspec.Struct, frozen=True):
    """How long something has to wait, and what for."""

    ms: int
    why: str
    relay: str = ""
    """The relay that it waits for, if it is one."""
    is_suspension: bool = False
    """An operator wants it: it does not count towards giving up."""


NO_WAIT = Wait(0, "")


class Places:
    """The places that this process has: leases, kept while they are in use. Safe to share between threads."""

    def __init__(self, ledger: Ledger, longest_ms: int) -> None:
        """Keep places.

        Args:
            ledger: where the limits are counted.
            longest_ms: how long a letter waits in line at most, before it is given a new place in it.
        """
        self._ledger = ledger
        self._longest_ms = longest_ms
        self._lock = Lock()
        self._held: set[tuple[str, str]] = set()
        os.register_at_fork(after_in_child=self._forget)

    def enter(
        self, relay: Relay, member: str, domains: Sequence[str] = ("",), served: Collection[str] = ()
    ) -> dict[str, Wait]:
        """Take a place among the relay's sessions; or among those of them that deliver to recipient domains.

        Args:
            relay: which.
            member: the session's own name: a place that it has already is not taken again.
            domains: where it is going to deliver to; the empty one stands for the relay as a whole.
            served: those it has delivered to before: for them it is no new session.

        Returns:
            those that it has to wait for.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        demands = {}
        for domain in domains:
            if (place := self._place(relay, domain, member)) not in self._held and (
                wanted := self._session_demands(relay, domain, place[0], is_new=domain not in served)
            ):
                demands[domain] = wanted
        waits = self._admit(relay, list(demands.values()), member, [False] * len(demands))
        found = dict(zip(demands, waits, strict=True))
        with self._lock:
            self._held.update(self._place(relay, domain, member) for domain, wait in found.items() if not wait.ms)
        waiting = {domain: wait for domain, wait in found.items() if wait.ms}
        if "" in waiting and relay.limits.connections:
            self._ledger.relays.want(relay.name, 3 * _PLACE_WAIT_MS)
        return waiting

    def leave(self, relay: Relay, member: str, but_not: Sequence[str] = ()) -> None:
        """Give back the places that a session has; what cannot be given back now ends with its lease.

        Args:
            relay: with which relay.
            member: the session's own name.
            but_not: domains whose places it keeps; the empty one stands for the relay as a whole.
        """
        kept = {self._place(relay, domain, member) for domain in but_not}
        with self._lock:
            places = [each for each in self._held if each[1] == member and each not in kept]
            self._held.difference_update(places)
        if places:
            try:
                self._ledger.relays.leave(places)
            except LedgerUnavailable as error:
                about = {"relay": relay.name}
                log.warning("relay %s: a session's place is given back later (%s)", relay.name, error, extra=about)

    def admit(self, relay: Relay, standing: Standing, letters: Sequence[tuple[Sequence[str], bool]]) -> list[Wait]:
        """Ask whether letters may be handed over now.

        Args:
            relay: to which.
            standing: how it stands with us: it may have asked for less.
            letters: the recipients of each, and whether it stands behind those sent alone.

        Returns:
            for each letter how long it has to wait.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        wanted = [self._letter_demands(relay, standing, recipients) for recipients, _ in letters]
        limited = [place for place, demands in enumerate(wanted) if demands]
        waits = self._admit(relay, [wanted[place] for place in limited], "", [letters[place][1] for place in limited])
        found = dict(zip(limited, waits, strict=True))
        return [found.get(place, NO_WAIT) for place in range(len(letters))]

    def keep(self) -> None:
        """Prolong the places that are in use.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        with self._lock:
            held = list(self._held)
        if held:
            self._ledger.relays.keep_places(held, self._ledger.times.lease_ms)

    def _admit(
        self, relay: Relay, demands: Sequence[Sequence[Demand]], member: str, bulk: Sequence[bool]
    ) -> list[Wait]:
        if not demands:
            return []
        answers = self._ledger.relays.admit(demands, member, self._ledger.times.lease_ms, bulk=bulk)
        return [
            Wait(
                min(_spread(wait_ms), self._longest_ms),
                f"relay {relay.name} takes no more for now ({_named(key)})",
                relay.name,
            )
            if wait_ms
            else NO_WAIT
            for wait_ms, key in answers
        ]

    def _place(self, relay: Relay, domain: str, member: str) -> tuple[str, str]:
        return self._ledger.keys.relay_sessions(relay.name, domain), member

    def _session_demands(self, relay: Relay, domain: str, place: str, *, is_new: bool) -> list[Demand]:
        limits = relay.limits_for(domain) if domain else relay.limits
        demands = []
        if limits.connections or not domain:
            demands.append(Demand(place, "places", limits.connections or _NO_LIMIT, _PLACE_WAIT_MS))
        if limits.connections_per_s and is_new:
            bucket = self._ledger.keys.relay_connections(relay.name, domain)
            demands.append(Demand(bucket, "rate", limits.connections_per_s, _TOKEN_KEPT_MS))
        return demands

    def _letter_demands(self, relay: Relay, standing: Standing, recipients: Sequence[str]) -> list[Demand]:
        rates = {"": _lower(relay.limits.letters_per_s, standing.rates.get(""))}
        if relay.domains or standing.rates:
            for domain in {domain_of(each) for each in recipients}:
                rates[domain] = _lower(relay.limits_for(domain).letters_per_s, standing.rates.get(domain))
        return [
            Demand(self._ledger.keys.relay_letters(relay.name, domain), "rate", rate, _TOKEN_KEPT_MS)
            for domain, rate in rates.items()
            if rate
        ]

    def _forget(self) -> None:
        # The parent's sessions are the parent's, and so are their places.
        self._lock = Lock()
        self._held = set()


def transaction(relay: Relay, recipients: Sequence[str]) -> list[str]:
    """Return the recipients that may be named in one transaction, in order: at least one."""
    chosen: list[str] = []
    counts: dict[str, int] = {}
    most = relay.limits.recipients_per_transaction or len(recipients)
    if not relay.domains:
        return list(recipients[:most])
    for address in recipients:
        if len(chosen) == most:
            break
        domain = domain_of(address)
        allowed = relay.limits_for(domain).recipients_per_transaction
        if allowed and counts.get(domain, 0) == allowed:
            continue
        counts[domain] = counts.get(domain, 0) + 1
        chosen.append(address)
    return chosen


def _lower(limit: float, slowed: float | None) -> float:
    """The lower of a limit (0: none) and a rate that was asked for."""
    if slowed is None:
        return limit
    return min(limit, slowed) if limit else slowed


def _spread(wait_ms: int) -> int:
    return wait_ms + int(wait_ms * chance.part() / 10)


def _named(key: str) -> str:
    """What a key limits, for the operator: ``letters a second at example.org``."""
    _, _, what = key.partition("}:")
    kind, _, domain = what.partition(":")
    name = "sessions" if kind == "sessions" else f"{kind} a second"
    return f"{name} at {domain}" if domain else name
