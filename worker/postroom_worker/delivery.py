"""The way out: claim, compose, transmit, settle, record. One letter is a chunk of one; there is no second path."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import ceil

from msgspec.structs import replace

from postroom.address import domain_of
from postroom.errors import InvalidLetter, LedgerUnavailable, NewerSchema
from postroom.kept_letter import kept_letter
from postroom.ledger import Claim
from postroom_worker import chance, settlement
from postroom_worker.crew import Crew
from postroom_worker.lane import AWAY_WAIT_MS, FAULT_WAIT_MS, Lane
from postroom_worker.limits import Wait
from postroom_worker.office import Office
from postroom_worker.outbox import Delivered, Outbox, until_recorded
from postroom_worker.pace import LETTERS_A_LANE
from postroom_worker.parcel import Parcel
from postroom_worker.relay import Relay
from postroom_worker.routing import route
from postroom_worker.staging import HELD, must_be_held
from postroom_worker.stopping import is_stopping

log = logging.getLogger("postroom")

_NEWER_SCHEMA_WAIT_MS = 60_000


def deliver(office: Office, letter_ids: Sequence[str]) -> list[Delivered]:
    """Deliver letters, each as far as it goes now.

    Raises:
        LedgerUnavailable: Redis is away, and nothing was claimed: the schedule rings again.
    """
    claims = office.ledger.claim(letter_ids, office.worker)
    outbox = Outbox(office)
    own = [each for each in claims if isinstance(each, Claim)]
    with office.leases.kept(own, outbox.flush):
        parcels = [parcel for claim in own if (parcel := opened(office, claim, outbox))]
        while parcels:
            groups, parcels = sort(office, parcels, outbox), []  # kept nowhere else: what was sent is let go at once
            for each in groups:
                parcels += send(office, *each, outbox)
        outbox.flush()
    with suppress(LedgerUnavailable):
        office.end_wanted()
    return [
        outbox.delivered.get(letter_id) or Delivered(letter_id, str(claim), is_ours=False)
        for letter_id, claim in zip(letter_ids, claims, strict=True)
    ]


def opened(office: Office, claim: Claim, outbox: Outbox) -> Parcel | None:
    """Return the letter that was claimed, and the relays that may take it; None when it cannot be sent now."""
    late = settlement.too_late(claim, 0)
    if late:
        outbox.finish(claim, settlement.expire(claim, office.rules, late))
        return None
    try:
        if office.settings.hold_all and until_recorded(lambda: must_be_held(office.ledger, claim.letter_id)):
            outbox.finish(claim, settlement.hold(claim, HELD))
            return None
        letter = kept_letter(claim.letter, lambda stored: office.ledger.contents.read(stored.sha256))
        named = claim.via or letter.relay
        relays = route(office.relays, name=named, sender_domain=domain_of(letter.from_.address), tags=letter.tags)
        if relays:
            return Parcel(claim, letter, relays)
        wanted = f"named {named}" if named else "for such a letter"
        finish = settlement.wait(claim, FAULT_WAIT_MS, f"this worker has no relay {wanted}")
    except NewerSchema as error:
        log.error("letter %s: %s", claim.letter_id, error, extra={"letter": claim.letter_id})
        finish = settlement.wait(claim, _NEWER_SCHEMA_WAIT_MS, str(error))
    except InvalidLetter as error:
        finish = settlement.reject(claim, office.rules, str(error))
    except Exception as error:
        log.exception("letter %s could not be read; it waits", claim.letter_id, extra={"letter": claim.letter_id})
        finish = settlement.wait(claim, FAULT_WAIT_MS, f"it could not be read: {type(error).__name__}")
    outbox.finish(claim, finish)
    return None


def sort(office: Office, parcels: Sequence[Parcel], outbox: Outbox) -> list[tuple[Relay, deque[Parcel]]]:
    """Return the parcels by the relay that each goes to: the first of its own that is not left alone; others wait."""
    groups: dict[str, tuple[Relay, deque[Parcel]]] = {}
    for parcel in parcels:
        if is_stopping():
            outbox.finish(parcel.claim, parcel.put_off(Wait(0, "the worker is stopping; another takes it")))
            continue
        if (wait := office.orders.hold_back(parcel)).ms:
            outbox.finish(parcel.claim, parcel.put_off(wait))
            continue
        try:
            relay = _open_relay(office, parcel, outbox)
        except LedgerUnavailable as error:
            outbox.finish(parcel.claim, parcel.put_off(Wait(AWAY_WAIT_MS, f"Redis was away ({error})")))
            continue
        if relay:
            groups.setdefault(relay.name, (relay, deque()))[1].append(parcel)
    return list(groups.values())


def _open_relay(office: Office, parcel: Parcel, outbox: Outbox) -> Relay | None:
    """Return the first of its relays that may be used now; when there is none, the letter waits for the soonest."""
    waits = []
    for relay in parcel.relays:
        if (suspended := office.orders.relay_wait(relay)).ms:
            waits.append(suspended)
            continue
        standing = office.breakers[relay.name].look()
        if standing.is_open_to_us:
            return relay
        how = "left alone" if standing.state == "open" else "being probed"
        left_ms = standing.left_ms if standing.left_ms > 0 else int(1000 * office.settings.pause_max_s)
        waits.append(Wait(left_ms, f"relay {relay.name} is {how}: {standing.why}", relay.name))
    wait = min(waits, key=lambda each: each.ms)
    spread_ms = int(wait.ms * chance.part() / 2)
    outbox.finish(parcel.claim, parcel.put_off(replace(wait, ms=wait.ms + spread_ms)))
    return None


def send(office: Office, relay: Relay, source: deque[Parcel], outbox: Outbox) -> Sequence[Parcel]:
    """Send parcels through as many sessions as are worth it; returns those that have to look for another relay."""
    number = max(1, min(office.settings.sessions, ceil(len(source) / LETTERS_A_LANE)))
    share = ceil(len(source) / number)
    lanes = [Lane(office, relay, source, outbox, share) for _ in range(number)]
    crew = Crew(lanes, relay.name, office.pace)
    with office.leases.meanwhile(crew.look):
        crew.run()
    office.breakers[relay.name].passes_probe()
    no_place = next((lane.no_place for lane in lanes if lane.no_place), None)
    if no_place:
        for parcel in source:
            outbox.finish(parcel.claim, parcel.put_off(no_place))
        source.clear()
    return [*source, *(parcel for lane in lanes for parcel in lane.turned_away)]
