"""A house: a ledger and a queue of its own, a relay that captures, a client, and as many workers as a test starts.

Everything in it is real and small: waits are tenths of seconds, and a test waits for facts, never for time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brokers import Broker, OverRedis
from postroom import Letter, LetterState, LetterStatus, Part, Postroom, Receipt, Settings
from postroom.address import AddressesInput
from postroom.ledger import Ledger, open_ledger
from postroom.ledger.relays import Standing
from postroom.ledger.views import account, bell
from postroom.redis_url import is_cluster
from postroom.sending import new_letter
from postroom_worker.delivery import deliver
from postroom_worker.dev import fleet
from postroom_worker.dev.capture import Answer, Capture, capture
from postroom_worker.dev.server import wait_until
from postroom_worker.office import Office
from postroom_worker.outcome import Phase

FAST = {
    "POSTROOM_FROM": "Bob <bob@example.org>",
    "POSTROOM_EHLO_NAME": "worker.example.org",
    "POSTROOM_RETRY_FIRST_S": "0.2",
    "POSTROOM_RETRY_MAX_S": "1",
    "POSTROOM_PAUSE_FIRST_S": "0.2",
    "POSTROOM_PAUSE_MAX_S": "0.5",
    "POSTROOM_TIMER_S": "0.1",
    "POSTROOM_LEASE_S": "30",
}
GROWING_S = (0.3, 3.0, 30.0)
"""For a bound of time that a test waits out: where this machine is too slow for what comes before, the next one."""
_WITH_A_TIMEOUT = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.CONTENT)


def timeouts(seconds: float, phase: Phase) -> dict[str, str]:
    """Return the setting by which a relay is waited for no longer than this in one phase.

    In all others it has its minutes: what is slow there is this machine, and no test's matter.
    """
    setting = {Phase.CONNECT: "greeting"}.get(phase, phase if phase in _WITH_A_TIMEOUT else "command")
    return {f"POSTROOM_{setting.upper()}_TIMEOUT_S": str(seconds)}


def but_for_rset(verbs: Sequence[str]) -> list[str]:
    """Return what was said but for RSET, which asks a session that was idle for a second whether it is alive."""
    return [each for each in verbs if each != "RSET"]


def end_claims(ledger: Ledger, *receipts: Receipt) -> None:
    """Have the claims on letters run out now, as they would in time: their worker is dead."""
    for each in receipts:
        ledger.redis.zadd(ledger.keys.index_of(each.id, LetterState.SENDING), {each.id: 0}, xx=True)


def ledger_at(redis_url: str) -> dict[str, str]:
    """Return the settings by which a ledger is found; no bells are rung where it is on a cluster."""
    nowhere = {"POSTROOM_BROKER_URL": "redis://127.0.0.1:1/0"} if is_cluster(redis_url) else {}
    return {"POSTROOM_REDIS_URL": redis_url, **nowhere}


@dataclass(slots=True)
class House:
    """Where the letters of a test live."""

    folder: Path
    environment: dict[str, str]
    relay: Capture
    answers: dict[str, Answer]
    """How the relay answers to recipients, by address; all others are taken."""
    slow: dict[str, float]
    """How many seconds the relay takes for the content, by address."""
    postroom: Postroom
    broker: Broker
    _running: ExitStack

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.postroom.ledger

    def worker(self, name: str = "worker", *options: str) -> fleet.Worker:
        """Start a worker; it is killed at the end, if it still runs then: to stop it in order takes two seconds."""
        running = fleet.start(self.folder, self.environment, name, *(options or ("--concurrency=2",)))
        self._running.callback(running.kill)
        return running

    def accepted(self, receipt: Receipt) -> dict[str, int]:
        """How often the relay accepted a letter, by recipient: the server's own account."""
        return {
            address: times
            for (message_id, address), times in self.relay.accepted.items()
            if message_id.startswith(f"<{receipt.id}@")
        }

    def octets(self, receipt: Receipt) -> list[bytes]:
        """What the relay took of a letter: the content of each copy."""
        copies = [path.read_bytes() for path in sorted(self.relay.folder.glob("*.eml"))]
        return [copy for copy in copies if b"\r\nMessage-ID: <" + receipt.id.encode() + b"@" in copy]

    def events(self, receipt: Receipt) -> list[str]:
        """The names of the events in a letter's history."""
        return [str(event["event"]) for event in account(self.ledger, receipt.id).history]

    def ring(self, receipt: Receipt) -> None:
        """Ring a letter's bell once more."""
        self.postroom.bells.ring(bell(self.ledger, receipt.id))

    def bells_waiting(self) -> int:
        """How many bells wait in the queue, or are with a worker that has not acknowledged them."""
        return self.broker.waiting()

    def wait_for(self, receipt: Receipt, *states: LetterState) -> None:
        """Wait until a letter is in one of these states."""
        wait_until(lambda: receipt.status().state in states, f"letter {receipt.id} is {' or '.join(states)}")


@contextmanager
def house(folder: Path, redis_url: str, broker: Broker | None = None, /, **settings: str) -> Iterator[House]:
    """Set up a house as long as this lasts; no worker runs yet.

    Args:
        folder: for logs, and what the relay takes.
        redis_url: an empty database.
        broker: an empty one; by default the same database.
        settings: further ``POSTROOM_*`` variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answers: dict[str, Answer] = {}
    slow: dict[str, float] = {}
    with ExitStack() as running:
        relay = running.enter_context(capture(folder / "mail", answers=answers, slow=slow))
        environment = {**FAST, **ledger_at(redis_url), "POSTROOM_RELAY_URL": relay.url}
        if broker:
            environment["POSTROOM_BROKER_URL"] = broker.url
        environment |= settings
        postroom = Postroom(Settings.from_environment(environment))
        running.callback(postroom.ledger.redis.close)
        broker = broker or OverRedis(postroom.ledger.redis, redis_url)
        running.callback(broker.end)
        yield House(folder, environment, relay, answers, slow, postroom, broker, running)


NewHouse = Callable[..., House]
"""Sets up a house of a test's own: the keywords are further ``POSTROOM_*`` variables."""


@dataclass(slots=True)
class Desk:
    """Where a test does by hand, in its own process, what a worker does."""

    office: Office

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.office.ledger

    def accept(self, to: AddressesInput, message: str | Part = "hi", **keywords: Any) -> Receipt:
        """Record a letter, ready to be claimed; no bell rings for it."""
        return self.record(Letter(to, message, settings=self.office.settings, **keywords))

    def record(self, letter: Letter) -> Receipt:
        """Record a letter that is made already: as `accept`."""
        new, contents = new_letter(letter, self.office.settings)
        self.ledger.contents.keep(letter.id, contents)
        assert self.ledger.accept(new) == "accepted"
        return Receipt(letter.id, self.ledger)

    def standing(self, relay: str = "default") -> Standing:
        """How a relay stands."""
        return self.ledger.relays.standing(relay, 1)

    def deliver(self, receipt: Receipt) -> LetterStatus:
        """Deliver a letter as far as it goes, and return what became of it."""
        deliver(self.office, [receipt.id])
        return receipt.status()


@contextmanager
def desk(redis_url: str, relay_url: str, **settings: str) -> Iterator[Desk]:
    """Set up a desk as long as this lasts.

    Args:
        redis_url: an empty database.
        relay_url: where letters go.
        settings: further ``POSTROOM_*`` variables.
    """
    environment = {**FAST, **ledger_at(redis_url), "POSTROOM_RELAY_URL": relay_url, **settings}
    found = Settings.from_environment(environment)
    office = Office.open(found, open_ledger(found), "desk")
    try:
        yield Desk(office)
    finally:
        office.pool.close()
        office.ledger.redis.close()
