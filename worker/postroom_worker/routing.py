"""Routing: which relays may take a letter, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from postroom_worker.relay import Relay


def route(relays: Sequence[Relay], *, name: str | None, sender_domain: str, tags: Iterable[str]) -> tuple[Relay, ...]:
    """Return the relays that may take a letter, in order of failover.

    Args:
        relays: all, in the order of their file.
        name: the relay that the letter names; then it is that one, whatever else it serves, or none.
        sender_domain: the domain of its sender, in lower case and A-labels.
        tags: the letter's.

    Returns:
        those that serve the letter: before those for every letter the ones that are for such letters in particular.
    """
    if name is not None:
        return tuple(relay for relay in relays if relay.name == name)
    having = frozenset(tags)
    serving = [relay for relay in relays if _serves(relay, sender_domain, having)]
    return tuple(sorted(serving, key=_restrictions, reverse=True))


def _serves(relay: Relay, sender_domain: str, tags: frozenset[str]) -> bool:
    if relay.senders and sender_domain not in relay.senders:
        return False
    return not relay.tags or not tags.isdisjoint(relay.tags)


def _restrictions(relay: Relay) -> int:
    return bool(relay.senders) + bool(relay.tags)
