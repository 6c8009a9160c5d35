"""What an attempt comes to: from the answers to what the ledger records. Pure: the clock and chance are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from postroom.ledger import Claim, Finish, Recipient
from postroom.ledger.record import expired
from postroom.ledger.transitions import Times
from postroom.reply import printable, without_addresses
from postroom.states import LetterState, RecipientState, letter_state
from postroom_worker.backoff import Backoff
from postroom_worker.outcome import Answer, Hint, Outcome, Row, outcome

_STATES = {
    Outcome.ACCEPTED: RecipientState.ACCEPTED,
    Outcome.REFUSED: RecipientState.REFUSED,
}
_FREE = (Outcome.PAUSE_RELAY, Outcome.RECONNECT)


@dataclass(frozen=True, slots=True)
class Rules:
    """The bounds and waits that a settlement follows."""

    backoff: Backoff
    times: Times
    pauses_max: int


class Attempt(msgspec.Struct, frozen=True):
    """One try to deliver a letter, as the history tells it."""

    relay: str
    worker: str
    took_ms: int
    answers: Mapping[str, Answer]
    """By address: of the recipients it was tried for."""
    turned_away: Sequence[tuple[str, str]] = ()
    """The relays that were down before it came to this one, and what they said."""


def settle(
    claim: Claim, attempt: Attempt, rules: Rules, random: float, pause_ms: int = 0, *, is_braked: bool = False
) -> Finish:
    """Return what the ledger records of an attempt.

    Args:
        claim: the letter as it was claimed.
        attempt: what was met.
        rules: bounds and waits.
        random: a number from 0 to 1, for the jitter.
        pause_ms: how long the relay is left alone, when it is.
        is_braked: it refuses one letter after the other for what is ours: then it is no letter's fault.
    """
    rows = {address: _row(answer, is_braked=is_braked) for address, answer in attempt.answers.items()}
    is_uncertain = any(row.outcome is Outcome.UNCERTAIN for row in rows.values())
    pause = _pause(attempt, rows)
    pauses = claim.pauses + 1 if pause else 0
    counts = not all(row.outcome in _FREE for row in rows.values()) or pauses > rules.pauses_max
    recipients = [_settled(each, attempt.answers, rows, counts=counts) for each in claim.recipients]
    attempts = claim.attempts + counts
    uncertain = claim.uncertain + is_uncertain
    state = letter_state([each.state for each in recipients])
    wait_ms, reason = rules.times.wait_ms(state), ""
    if state is LetterState.DEFERRED and is_uncertain and _holds(claim, uncertain, rules.times):
        state, wait_ms, reason = LetterState.HELD, 0, "uncertain: it may have been accepted"
    elif state is LetterState.DEFERRED:
        # Who met the pause comes after those who did not: the relay is probed by another, if there is one.
        wait_ms = 2 * pause_ms if pause else rules.backoff.wait_ms(attempts, random) if counts else 0
        # Who resumes the relay finds by this reason who waits for it.
        reason = pause
        if late := too_late(claim, attempt.took_ms + wait_ms):
            recipients = expired(recipients, late)
            state = letter_state([each.state for each in recipients])
            wait_ms, reason = rules.times.wait_ms(state), late
    return Finish(
        state=state,
        wait_ms=wait_ms,
        recipients=recipients,
        attempts=attempts,
        uncertain=uncertain,
        pauses=pauses,
        reason=reason,
        event=_event(attempt, recipients, attempts, state, wait_ms, reason),
        relay=attempt.relay,
    )


def _pause(attempt: Attempt, rows: Mapping[str, Row]) -> str:
    """Why the relay is left alone after an attempt; empty when it is not."""
    met = next((attempt.answers[each] for each, row in rows.items() if row.outcome is Outcome.PAUSE_RELAY), None)
    return f"relay {attempt.relay} is left alone: {without_addresses(printable(str(met)))}" if met else ""


def expire(claim: Claim, rules: Rules, why: str) -> Finish:
    """Return what the ledger records when it is too late to send: everybody not served yet has expired."""
    recipients = expired(claim.recipients, why)
    state = letter_state([each.state for each in recipients])
    event: dict[str, object] = {"event": "expired", "why": why}
    return _unattempted(claim, state, rules.times.wait_ms(state), event, recipients, why)


def wait(claim: Claim, wait_ms: int, why: str, recipients: Sequence[Recipient] | None = None) -> Finish:
    """Return what the ledger records when nothing, or nothing further, could be tried, through no fault of the letter.

    Args:
        claim: the letter as it was claimed.
        wait_ms: until it is looked at again.
        why: what it waits for.
        recipients: as they are by now, if somebody was served before.
    """
    event: dict[str, object] = {"event": "waits", "why": why, "wait_ms": wait_ms}
    return _unattempted(claim, LetterState.DEFERRED, wait_ms, event, recipients, why)


def hold(claim: Claim, why: str) -> Finish:
    """Return what the ledger records of a letter that is not to be tried before an operator says so."""
    return _unattempted(claim, LetterState.HELD, 0, {"event": "held", "why": why}, reason=why)


def reject(claim: Claim, rules: Rules, why: str) -> Finish:
    """Return what the ledger records of a letter that cannot be read."""
    event: dict[str, object] = {"event": "rejected", "why": why}
    return _unattempted(claim, LetterState.REJECTED, rules.times.wait_ms(LetterState.REJECTED), event, reason=why)


def _unattempted(
    claim: Claim,
    state: LetterState,
    wait_ms: int,
    event: dict[str, object],
    recipients: Sequence[Recipient] | None = None,
    reason: str = "",
) -> Finish:
    return Finish(
        state=state,
        wait_ms=wait_ms,
        recipients=claim.recipients if recipients is None else recipients,
        attempts=claim.attempts,
        uncertain=claim.uncertain,
        pauses=claim.pauses,
        reason=reason,
        event=event,
    )


def too_late(claim: Claim, later_ms: int) -> str:
    """Return why it is too late to send the letter, so many milliseconds after the claim; empty when it is not."""
    then_ms = claim.now_ms + later_ms
    if claim.expires_ms and then_ms >= claim.expires_ms:
        return "its time was over (expires_in)"
    if then_ms >= claim.give_up_ms:
        return "given up: it was deferred for too long"
    return ""


def _holds(claim: Claim, uncertain: int, times: Times) -> bool:
    return claim.on_uncertain == "hold" or uncertain >= times.uncertain_max


def settled(recipients: Sequence[Recipient], answers: Mapping[str, Answer]) -> list[Recipient]:
    """Return the recipients as these answers leave them, in the middle of an attempt."""
    rows = {address: outcome(answer) for address, answer in answers.items()}
    return [_settled(each, answers, rows, counts=True) for each in recipients]


def _row(answer: Answer, *, is_braked: bool) -> Row:
    row = outcome(answer)
    if is_braked and row.hint is Hint.US and row.outcome is Outcome.REFUSED:
        return replace(row, outcome=Outcome.PAUSE_RELAY)
    return row


def _settled(
    recipient: Recipient, answers: Mapping[str, Answer], rows: Mapping[str, Row], *, counts: bool
) -> Recipient:
    row = rows.get(recipient.address)
    if row is None:
        return recipient
    state = _STATES.get(row.outcome, RecipientState.DEFERRED)
    reply = printable(str(answers[recipient.address]))
    if row.outcome is Outcome.UNCERTAIN:
        reply = f"uncertain, it may have been accepted: {reply}"
    return Recipient(recipient.address, state, reply, recipient.attempts + counts)


def _event(
    attempt: Attempt, recipients: Sequence[Recipient], number: int, state: LetterState, wait_ms: int, reason: str
) -> dict[str, object]:
    turned_away = [{"relay": relay, "reply": reply} for relay, reply in attempt.turned_away]
    return {
        "event": "attempt",
        "number": number,
        "relay": attempt.relay,
        **({"turned_away": turned_away} if turned_away else {}),
        "worker": attempt.worker,
        "took_ms": attempt.took_ms,
        "recipients": [
            {"address": each.address, "state": each.state, "reply": each.reply}
            for each in recipients
            if each.address in attempt.answers
        ],
        "state": state,
        "next_in_ms": wait_ms if state is LetterState.DEFERRED else None,
        "why": reason,
    }
