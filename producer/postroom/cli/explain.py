"""Why a letter is where it is, and what happens next: ``postroom explain``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import click

from postroom.address import domain_of
from postroom.cli import output
from postroom.cli.arguments import LetterId, json_option
from postroom.cli.desk import Desk, pass_desk
from postroom.cli.look import last_word
from postroom.errors import NewerSchema
from postroom.kept_letter import kept_letter
from postroom.ledger import LetterStatus
from postroom.ledger.availability import available
from postroom.ledger.relays import Standing
from postroom.ledger.suspensions import Suspension, current
from postroom.ledger.views import Circumstances, circumstances, letter_json, status
from postroom.ledger.workers import relays, workers
from postroom.states import LETTER_STATES, LetterState


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an explanation is made of."""

    letter: LetterStatus
    about: Circumstances
    workers: int
    """How many are here."""
    now_ms: int
    suspensions: Sequence[Suspension] = ()
    """Those that it meets."""
    chosen_relay: str = ""
    """The one that an operator, or the letter itself, wants it to go through."""
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """How the relays stand that it may go through, by name."""

    @property
    def open(self) -> str:
        """Whom it is still for."""
        return output.count(sum(each.state.is_open for each in self.letter.recipients.values()), "recipient")

    @property
    def left(self) -> str:
        """Who did not get it."""
        return output.count(sum(each.state != "accepted" for each in self.letter.recipients.values()), "recipient")

    def when(self, at_ms: int) -> str:
        """A moment, and how far away it is."""
        apart_s = (at_ms - self.now_ms) / 1000
        told = (
            f"in {output.span(apart_s)}" if apart_s >= 1 else f"{output.span(-apart_s)} ago" if apart_s <= -1 else "now"
        )
        return f"{output.moment(at_ms / 1000)}, {told}"


Explanation = Mapping[str, str]
"""Sentences by what they tell: ``state``, ``why`` or ``before``, ``suspended``, ``relay``, ``waits for``, ``next``,
``at last``, ``you may``."""
_NAMES = dict.fromkeys((LetterState.SCHEDULED, LetterState.QUEUED, LetterState.SENDING), "before")
"""What was said last is no reason for these states."""


@click.command()
@click.argument("letter_id", metavar="ID", type=LetterId())
@json_option
@pass_desk
def explain(desk: Desk, /, letter_id: str, as_json: bool) -> None:
    """Explain what a letter waits for, why, and what happens next."""
    found = explanation(_seen(desk, letter_id))
    if as_json:
        output.print_json({"id": letter_id, **found})
        return
    table = output.grid()
    for name, sentence in found.items():
        table.add_row(name.capitalize(), output.data(sentence))
    output.console().print(table)


def _seen(desk: Desk, letter_id: str) -> Seen:
    letter, about = status(desk.ledger, letter_id), circumstances(desk.ledger, letter_id)
    suspended, now_ms = current(desk.ledger)
    chosen = about.via or _named_relay(desk, letter_id)
    names = [chosen] if chosen else relays(desk.ledger) or {letter.relay} - {""}
    return Seen(
        letter=letter,
        about=about,
        workers=sum(each.is_here for each in workers(desk.ledger)),
        now_ms=now_ms,
        suspensions=[each for each in suspended if _meets(letter, each, names)],
        chosen_relay=chosen,
        standings={name: desk.ledger.relays.standing(name) for name in sorted(names)},
    )


def _named_relay(desk: Desk, letter_id: str) -> str:
    """The relay that the letter names, if its content is still there and can be read."""
    kept = letter_json(desk.ledger, letter_id)
    if kept is None:
        return ""
    try:
        with available():
            return kept_letter(kept, lambda stored: desk.ledger.contents.read(stored.sha256)).relay or ""
    except (ValueError, NewerSchema):
        return ""


def _meets(letter: LetterStatus, suspension: Suspension, names: Collection[str]) -> bool:
    if suspension.kind == "tag":
        return suspension.name in letter.tags
    if suspension.kind == "relay":
        return suspension.name in names
    left = [address for address, each in letter.recipients.items() if each.state.is_open]
    return any(domain_of(address) == suspension.name for address in left)


def explanation(seen: Seen) -> Explanation:
    """Return why a letter is where it is, and what happens next."""
    letter = seen.letter
    said = last_word(letter)
    return {
        "state": f"{letter.state}: {LETTER_STATES[letter.state].replace('`', '')}",
        **({_NAMES.get(letter.state, "why"): said} if said and letter.state is not LetterState.SENT else {}),
        **(_on_the_way(seen) if not letter.state.is_settled else {}),
        **_OF[letter.state](seen),
    }


def _on_the_way(seen: Seen) -> Explanation:
    """What stands in its way: suspensions, and relays that do not serve, or take less."""
    suspended = [
        f"{each}; {f'ends {seen.when(each.until_ms)}' if each.until_ms else 'until it is resumed'}: "
        f"postroom resume --{each.kind} {each.name}"
        for each in seen.suspensions
    ]
    through = seen.chosen_relay or seen.letter.relay
    told = [f"it goes through {seen.chosen_relay}"] if seen.chosen_relay else []
    told += [f"it was last tried, or waited, at {through}"] if through and not seen.chosen_relay else []
    told += [f"{name} {_standing(each)}" for name, each in seen.standings.items()]
    return {
        **({"suspended": "\n".join(suspended)} if suspended else {}),
        **({"relay": "; ".join(told)} if told else {}),
    }


def _standing(standing: Standing) -> str:
    since = f"since {output.moment(standing.since_ms / 1000)}"
    state = {
        "open": f"is left alone for {output.span(standing.left_ms / 1000)} more, {since}: {standing.why}",
        "half-open": f"was down, {since}, and is probed by the next letter: {standing.why}",
    }.get(standing.state, f"serves, {output.count(standing.sessions, 'session')}")
    rates = [f"{rate:.1f} letters/s{f' at {domain}' if domain else ''}" for domain, rate in standing.rates.items()]
    return f"{state}; slowed to {', '.join(rates)}" if rates else state


def _scheduled(seen: Seen) -> Explanation:
    return {
        "waits for": f"its time, {seen.when(seen.about.due_ms)}",
        "next": f"a worker puts it on the queue {seen.about.queue} then, and it is tried for {seen.open}",
        "at last": _end(seen),
        "you may": "hold it, cancel it",
    }


def _queued(seen: Seen) -> Explanation:
    here = output.count(seen.workers, "worker") if seen.workers else "no worker"
    rings = seen.when(seen.about.due_ms)
    return {
        "waits for": f"a worker of the queue {seen.about.queue}; {here} {'are' if seen.workers > 1 else 'is'} here",
        "next": f"it is tried for {seen.open}; if no worker takes it, its bell is rung again, at the latest {rings}",
        "at last": _end(seen),
        "you may": "hold it, cancel it, expire it",
    }


def _sending(seen: Seen) -> Explanation:
    lost = f"if the worker dies, another takes over when its claim runs out, {seen.when(seen.about.due_ms)}"
    if seen.about.in_window:
        then = "is held" if seen.about.on_uncertain == "hold" else "is sent again, the same octets"
        lost = f"its content is at the relay, and the reply is awaited; if that is lost, the letter {then}"
    return {"waits for": f"worker {seen.about.worker}, which tries it for {seen.open}", "next": lost}


def _deferred(seen: Seen) -> Explanation:
    due = seen.when(seen.about.due_ms)
    waits_for = f"its next attempt, {due}"
    if seen.letter.reason:
        waits_for = f"the end of that; it is looked at again {due}"
    then = f"it is tried for {seen.open}: attempt {seen.letter.attempts + 1}"
    if any(each.kind != "relay" and not each.is_over(seen.about.due_ms) for each in seen.suspensions):
        then = "it waits on, unless that was resumed; when it is, it goes out at once"
    return {
        "waits for": waits_for,
        "next": f"a worker puts it on the queue {seen.about.queue} then, and {then}",
        "at last": _end(seen),
        "you may": ("" if seen.suspensions else "flush it (try it now), ")
        + "hold it, cancel it, expire it (give it up now)",
    }


def _held(seen: Seen) -> Explanation:
    ends = seen.about.expires_ms
    return {
        "waits for": "an operator",
        "next": "nothing, until it is released",
        **({"at last": f"it is not sent after {seen.when(ends)} (expires_in)"} if ends else {}),
        "you may": "release it, retry it, cancel it, expire it",
    }


def _over(seen: Seen) -> Explanation:
    return {"waits for": "nothing", "next": _forgotten(seen)}


def _unserved(seen: Seen) -> Explanation:
    is_worthless = 0 < seen.about.expires_ms <= seen.now_ms
    return {
        "waits for": "nothing: it is not tried again by itself",
        "next": _forgotten(seen),
        "you may": "purge it; retried, it would be too late again (expires_in)"
        if is_worthless
        else f"retry it, to {seen.left} who did not get it; purge it",
    }


def _rejected(seen: Seen) -> Explanation:
    return {"waits for": "nothing: it cannot be sent", "next": _forgotten(seen), "you may": "look at it, purge it"}


_OF: Mapping[LetterState, Callable[[Seen], Explanation]] = {
    LetterState.SCHEDULED: _scheduled,
    LetterState.QUEUED: _queued,
    LetterState.SENDING: _sending,
    LetterState.DEFERRED: _deferred,
    LetterState.HELD: _held,
    LetterState.SENT: _over,
    LetterState.PARTIAL: _unserved,
    LetterState.FAILED: _unserved,
    LetterState.CANCELLED: _unserved,
    LetterState.REJECTED: _rejected,
}


def _end(seen: Seen) -> str:
    expires_ms, give_up_ms = seen.about.expires_ms, seen.about.give_up_ms
    if expires_ms and expires_ms < give_up_ms:
        return f"it is not sent after {seen.when(expires_ms)} (expires_in)"
    return f"it is given up {seen.when(give_up_ms)}"


def _forgotten(seen: Seen) -> str:
    if seen.about.is_kept:
        return "it is kept until it is retried or purged"
    return f"its account is forgotten {seen.when(seen.about.due_ms)}"
