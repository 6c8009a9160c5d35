"""The chaos run, from the first letter to the last key."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from postroom.ledger import Ledger
from postroom.ledger.orphans import drop_orphans
from postroom_worker.dev.chaos.accounts import Accounts, accounts
from postroom_worker.dev.chaos.callers import Callers, forget_all, unsettled
from postroom_worker.dev.chaos.faults import FAULTS, Faults, script
from postroom_worker.dev.chaos.processes import children, open_files
from postroom_worker.dev.chaos.relay import MANNERS
from postroom_worker.dev.chaos.rollback import RolledBack, file, roll_back
from postroom_worker.dev.chaos.stage import WORKERS, Stage
from postroom_worker.dev.server import wait_until

_LETTERS_A_ROUND = 250
"""For so many letters each fault strikes once more."""
_ROLLED_BACK = 12
"""Letters, at least, that come before the file is cut short."""
_OPEN_FILES_MAX = 64
"""Of a process that delivers: its sessions, its connections to Redis, and what Celery has open."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    bit: Mapping[str, int]
    """How often each fault bit, those of the relays' everyday too."""
    accounts: Accounts
    """Once all was settled."""
    rolled_back: RolledBack
    after: Accounts
    """Once all was settled again, after the file was cut short."""
    acts: Mapping[str, int]
    manners: Mapping[str, int]
    """How many letters the relays took in each manner of sessions."""
    by_relay: Mapping[str, int]
    """How many copies each relay took."""
    others: list[str]
    """What else is wrong."""

    def told(self) -> dict[str, str]:
        """Return the accounts, and what belongs to them, in words."""
        found = self.accounts.told()
        found["of these"] = ", ".join(f"{number} by {relay}" for relay, number in self.by_relay.items())
        found["letters"] = ", ".join(f"{self.manners.get(manner, 0)} {manner}" for manner in MANNERS)
        found["operator"] = ", ".join(f"{verb} {number}" for verb, number in sorted(self.acts.items()))
        found["cut short"] = self.rolled_back.told()
        return found

    def problems(self) -> list[str]:
        """Return everything that is wrong; nothing when the promise was kept."""
        found = self.accounts.problems()
        found += [f"after the file was cut short: {each}" for each in self.after.problems() if each not in found]
        found += self.others
        found += [f"{name}: it never bit" for name, times in self.bit.items() if not times]
        found += [f"no letter went {manner}" for manner in MANNERS if not self.manners.get(manner)]
        found += [f"relay {relay} took nothing" for relay, number in self.by_relay.items() if not number]
        if not self.acts:
            found.append("the operator never came in time to act on a letter")
        if not (self.rolled_back.lost or self.rolled_back.again):
            found.append("the file was cut short, and nothing was undone")
        return found


def patience_s(letters: int) -> float:
    """Return how long a run of so many letters may take to settle, in seconds."""
    return 60 + letters / 2


Watch = Callable[[Stage, Callers, Faults], None]
"""Called now and then while the run goes on."""


def run(on: Stage, seed: int, letters: int, patience_s: float, watch: Watch = lambda *_: None) -> Report:
    """Send letters while the script of faults is played; settle, cut the file short, settle again, and clear up.

    Args:
        on: an empty stage.
        seed: of the script, and of all else that is random.
        letters: how many, at least.
        patience_s: how long all may take to settle, when nobody hands letters in any more.
        watch: is shown how far it is.

    Raises:
        TimeoutError: the workers do not go on.
    """
    random = Random(seed)
    faults = Faults(on, script(seed, letters, max(1, letters // _LETTERS_A_ROUND)))
    for relay in on.relays.values():
        relay.disturb = faults.disturb
    for name in WORKERS:
        on.start(name)
    callers = Callers(on.postroom, random, patience_s)
    send(callers, faults, letters, lambda: watch(on, callers, faults))
    settle(on, callers, faults)
    found = accounts(on.ledger, callers.receipts, on.taken, on.refused)
    manners = sum((relay.manners for relay in on.relays.values()), Counter[str]())
    by_relay = {name: sum(relay.account.values()) for name, relay in on.relays.items()}
    for relay in on.relays.values():
        relay.disturb = lambda _session, _step, answer: answer()
    rolled_back = cut_short(on, callers, faults)
    after = rolled_back.after(on, callers.receipts)
    return Report(
        bit=bites(on, faults),
        accounts=found,
        rolled_back=rolled_back,
        after=after,
        acts=callers.acts,
        manners=manners,
        by_relay=by_relay,
        others=[*faults.failed, *ailments(on), *left_over(on, callers)],
    )


def send(callers: Callers, faults: Faults, letters: int, watch: Callable[[], None]) -> None:
    """Hand letters in; when all are, and faults are left that found nothing to bite yet, there are some more."""
    while len(callers.receipts) < letters:
        callers.hand_in()
        callers.act()
        watch()
    while faults.has_more and len(callers.receipts) < 2 * letters:
        callers.hand_in(is_quiet=callers.random.random() < 1 / 2)
        callers.act()
        watch()


def settle(on: Stage, callers: Callers, faults: Faults) -> None:
    """Wait until nothing will happen to any letter by itself; what is not settled in time, the accounts tell."""

    def is_settled() -> bool:
        return not faults.is_striking and unsettled(on.ledger) == 0

    for _ in range(2):
        with contextlib.suppress(TimeoutError):
            wait_until(is_settled, "all is settled", callers.patience_s)
        callers.release()


def cut_short(on: Stage, callers: Callers, faults: Faults) -> RolledBack:
    """Send some more letters, and undo a part of what was written since; returns what that was, once all is settled."""
    begin = file(on).stat().st_size
    first = len(callers.receipts)
    while len(callers.receipts) < first + _ROLLED_BACK:
        callers.hand_in(is_quiet=True)
    settle(on, callers, faults)
    before = accounts(on.ledger, callers.receipts, on.taken, on.refused)
    written = file(on).stat().st_size - begin
    found = roll_back(on, before, begin + int(written * callers.random.uniform(0.2, 0.6)))
    settle(on, callers, faults)
    return found


def bites(on: Stage, faults: Faults) -> dict[str, int]:
    """Return how often each fault bit."""
    everyday = {
        "relay: a recipient greylisted": sum(relay.greylisted for relay in on.relays.values()),
        "relay: a recipient refused": len([each for each in on.refused if each.startswith("refused")]),
    }
    return {**everyday, **{fault.name: faults.bit[fault.name] for fault in FAULTS}}


def ailments(on: Stage) -> Iterator[str]:
    """Yield what is wrong with the workers."""
    for name, worker in on.workers.items():
        if worker.process.poll() is not None:
            yield f"worker {name} exited"
        for pid in children(worker):
            number = len(open_files(pid))
            if number > _OPEN_FILES_MAX:
                yield f"worker {name}: a process has {number} files open"
    if "Unrecoverable error" in on.logs():
        yield "a worker met an unrecoverable error"


def left_over(on: Stage, callers: Callers) -> Iterator[str]:
    """Stop the workers in order, have every letter forgotten, and yield what is there even so."""
    on.stop()
    for name in on.relays:
        if sessions := places(on.ledger, name):
            yield f"relay {name}: {sessions} places are taken"
    forget_all(on.ledger)
    # Of letters that are gone since the file was cut short: any worker's timer drops them after a day.
    drop_orphans(on.ledger, limit=2 * len(callers.receipts), after_ms=0)
    # What outlives letters is bounded, or expires: the stream, the counts, and relays, what is known of each with them.
    bounded = (
        on.ledger.keys.events(0),
        on.ledger.keys.counts(),
        on.ledger.keys.relays(),
        *(on.ledger.keys.relay(name, "") for name in on.relays),
    )
    for each in on.redis.scan_iter("*", count=1000):
        key = each.decode()
        if not key.startswith(bounded):
            yield f"the key {key} is left over"


def places(ledger: Ledger, relay: str) -> int:
    """Return how many sessions hold a place at a relay now."""
    return ledger.relays.knock(relay, "", 0, 1).sessions
