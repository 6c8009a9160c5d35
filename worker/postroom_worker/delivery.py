"""The way out: claim, compose, transmit, settle, record. One letter is a chunk of one; there is no second path."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from postroom import clock
from postroom.envelope import Envelope
from postroom.errors import InvalidLetter, LedgerUnavailable, NewerSchema
from postroom.ledger import Claim, Finish, Ledger
from postroom.letter import Letter
from postroom.mime.stored import Stored
from postroom.reply import without_addresses
from postroom.settings import Settings
from postroom.states import LetterState
from postroom_worker import settlement
from postroom_worker.backoff import Backoff
from postroom_worker.breaker import Breaker
from postroom_worker.lease import Leases
from postroom_worker.outcome import Answer, Outcome, outcome
from postroom_worker.relay import Relay
from postroom_worker.settlement import Attempt, Rules
from postroom_worker.signing import signed
from postroom_worker.signing_key import SigningKey, read_keys
from postroom_worker.smtp.flight import transmit
from postroom_worker.smtp.pool import Pool
from postroom_worker.smtp.session import Manner
from postroom_worker.smtp.submission import Answers, Submission
from postroom_worker.smtp.wire import SessionFailed
from postroom_worker.stopping import is_stopping

log = logging.getLogger("postroom")
T = TypeVar("T")

_NEWER_SCHEMA_WAIT_MS = 60_000
_FAULT_WAIT_MS = 60_000
_RECORD_WAIT_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Office:
    """What a worker process works with."""

    settings: Settings
    ledger: Ledger
    relay: Relay
    keys: tuple[SigningKey, ...]
    pool: Pool
    leases: Leases
    rules: Rules
    breaker: Breaker
    worker: str

    @classmethod
    def open(cls, settings: Settings, ledger: Ledger, worker: str) -> Office:
        """Set up, without connecting to anything.

        Raises:
            InvalidSettings: the relay's URL, or a key that letters are signed with, cannot be read.
        """
        relay = Relay.from_url(settings.relay_url)
        pool = Pool(Manner.of(settings), idle_s=settings.session_idle_s, letters=settings.session_letters)
        return cls(
            settings=settings,
            ledger=ledger,
            relay=relay,
            keys=read_keys(settings.dkim),
            pool=pool,
            leases=Leases(ledger, max(0.2, settings.lease_s / 4), pool.close_idle),
            rules=Rules(Backoff.of_letters(settings), ledger.times, settings.pauses_max),
            breaker=Breaker(ledger.redis, relay, Backoff.of_relays(settings)),
            worker=worker,
        )


class ClaimLost(Exception):
    """The letter is not ours any more; its end was not sent."""


class Expired(Exception):
    """The letter's time ran out on the way to the relay; its end was not sent."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one letter of a chunk."""

    letter_id: str
    state: str
    """The letter's state now; for a letter that was not ours to deliver, the state that forbade it."""
    why: str = ""
    """The reply that decided, or the reason."""
    next_in_ms: int = 0
    is_ours: bool = True
    """False when the letter was not ours to deliver."""


def deliver(office: Office, letter_ids: Sequence[str]) -> list[Delivered]:
    """Deliver letters, each as far as it goes now.

    Raises:
        LedgerUnavailable: Redis is away, and nothing was claimed: the schedule rings again.
    """
    claims = office.ledger.claim(letter_ids, office.worker)
    with office.leases.kept([each for each in claims if isinstance(each, Claim)]):
        return [
            _deliver(office, claim) if isinstance(claim, Claim) else Delivered(letter_id, claim, is_ours=False)
            for letter_id, claim in zip(letter_ids, claims, strict=True)
        ]


def _deliver(office: Office, claim: Claim) -> Delivered:
    try:
        finish = _attempt(office, claim)
        is_recorded = _until_recorded(lambda: office.ledger.finish(claim, finish), claim.letter_id)
    except ClaimLost:
        return Delivered(claim.letter_id, "stale", "the claim was lost", is_ours=False)
    finally:
        office.leases.end(claim)
    if not is_recorded:
        log.warning("letter %s: finished too late, the claim was lost", claim.letter_id)
    elif finish.state is LetterState.SENT and claim.contents:
        _drop_contents(office, claim)
    return Delivered(claim.letter_id, finish.state, why(finish), finish.wait_ms)


def _attempt(office: Office, claim: Claim) -> Finish:
    """Try it once, and return what the ledger is to record. Our fault, or the relay's, is never the letter's."""
    if is_stopping():
        return settlement.wait(claim, 0, "the worker is stopping; another takes it")
    late = settlement.too_late(claim, _since_ms(claim))
    if late:
        return settlement.expire(claim, office.rules, late)
    try:
        pause = office.breaker.look()
        if pause is not None:
            spread_ms = int(pause.left_ms * random.random() / 2)  # noqa: S311  (not all at once)
            return settlement.wait(
                claim, pause.left_ms + spread_ms, f"relay {office.relay.name} is paused: {pause.why}"
            )
        letter = Letter.from_json(claim.letter, office.settings.without_limits())
        if letter.relay not in (None, office.relay.name):
            return settlement.wait(claim, _FAULT_WAIT_MS, f"this worker has no relay named {letter.relay}")
        content = signed(letter.octets(lambda stored: _read(office, stored)), office.keys)
    except NewerSchema as error:
        log.error("letter %s: %s", claim.letter_id, error)
        return settlement.wait(claim, _NEWER_SCHEMA_WAIT_MS, str(error))
    except InvalidLetter as error:
        return settlement.reject(claim, office.rules, str(error))
    except Exception as error:
        log.exception("letter %s could not be composed; it waits", claim.letter_id)
        return settlement.wait(claim, _FAULT_WAIT_MS, f"it could not be composed: {type(error).__name__}")
    try:
        return _settle(office, claim, *_transmit(office, claim, letter.envelope, content))
    except Expired:
        return settlement.expire(claim, office.rules, "its time was over (expires_in)")


def _since_ms(claim: Claim) -> int:
    return int(1000 * (clock.steady_s() - claim.claimed_s))


def _read(office: Office, stored: Stored) -> bytes:
    return office.ledger.contents.read(stored.sha256)


def _transmit(office: Office, claim: Claim, envelope: Envelope, content: Sequence[bytes]) -> tuple[Answers, int]:
    """Submit the letter to those who have not got it yet; returns their answers, and how long it took."""
    began_s = clock.steady_s()
    left = [each.address for each in claim.recipients if each.state.is_open]
    answers: Answers = {}
    while left:
        found = _transaction(office, claim, Envelope(envelope.reverse_path, tuple(left)), content)
        answers |= found
        rest = [path for path in left if _is_overflow(found[path])]
        if len(rest) == len(left):
            break
        left = rest
    return answers, int((clock.steady_s() - began_s) * 1000)


def _transaction(office: Office, claim: Claim, envelope: Envelope, content: Sequence[bytes]) -> Answers:
    """One transaction; a kept session that has ended meanwhile is replaced, once."""

    def enter_window(_: Sequence[Submission]) -> list[bool]:
        if settlement.too_late(claim, _since_ms(claim)):
            raise Expired
        return [_until_recorded(lambda: office.ledger.enter_window(claim, office.relay.name), claim.letter_id)]

    answers: Answers = {}
    for fresh in (False, True):
        try:
            with office.pool.session(office.relay, fresh=fresh) as session:
                is_new = session.letters == 0
                [(_, answers)] = transmit(session, [Submission(envelope, content)], enter_window, 1)
        except SessionFailed as failed:
            return dict.fromkeys(envelope.recipients, failed.answer)
        if is_new or not all(_is_session_end(answer) for answer in answers.values()):
            break
    if not answers:
        raise ClaimLost
    return answers


def _is_session_end(answer: Answer) -> bool:
    """True when a kept session ended before it took the letter's first command: that says nothing of the relay."""
    is_lost = answer.met == "connection-lost" or getattr(answer.met, "code", 0) == 421
    return answer.phase == "idle" or (answer.phase == "mail" and is_lost)


def _is_overflow(answer: Answer) -> bool:
    """True for too many recipients at once (RFC 5321 §4.5.3.1.10): the rest go in a transaction of their own."""
    return answer.phase == "rcpt" and str(answer.met)[:9] in ("452 4.5.3", "552 5.5.3")


def _settle(office: Office, claim: Claim, answers: Answers, took_ms: int) -> Finish:
    paused = next((a for a in answers.values() if outcome(a).outcome is Outcome.PAUSE_RELAY), None)
    pause_ms = office.breaker.trip(paused) if paused else 0
    attempt = Attempt(office.relay.name, office.worker, took_ms, answers)
    return settlement.settle(claim, attempt, office.rules, random.random(), pause_ms)  # noqa: S311  (jitter)


def _drop_contents(office: Office, claim: Claim) -> None:
    try:
        office.ledger.contents.drop(claim.letter_id, claim.contents)
    except LedgerUnavailable as error:
        log.warning("letter %s: its contents are dropped later (%s)", claim.letter_id, error)


def _until_recorded(write: Callable[[], T], letter_id: str) -> T:
    """Write to the ledger, again and again until it answers: what was delivered must not be forgotten."""
    wait_s = 0.1
    while True:
        try:
            return write()
        except LedgerUnavailable as error:
            log.warning("letter %s: %s; trying again in %.1f s", letter_id, error, wait_s)
            clock.pause(wait_s)
            wait_s = min(2 * wait_s, _RECORD_WAIT_MAX_S)


def why(finish: Finish) -> str:
    """Return the reply that decided, or the reason: what Flower shows. It names no address."""
    if finish.reason:
        return without_addresses(finish.reason)
    worst = [each.reply for each in finish.recipients if each.state != "accepted" and each.reply]
    return without_addresses(worst[0] if worst else str(finish.event.get("why", "")))
