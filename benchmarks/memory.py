"""What a letter takes of Redis's memory in each state: ``python benchmarks/memory.py``.

Letters of the usual size, each with texts of its own, are brought into a state of an empty server as they come there in
use; then its memory is read, and the difference divided by their number. The stream of events is off: its length is
bounded by a setting, not by the letters. It depends on the server's version and allocator, and on no clock.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time_ns
from typing import Any

from compose import HTML, SUBJECT, TEXT
from machine import environment
from postroom import InvalidLetter, Letter, Settings, operate
from postroom.bell import Bells
from postroom.ledger import open_ledger
from postroom.sending import new_letter
from postroom_worker.acceptance import accept_letter
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import Session, say, scripted_relay
from postroom_worker.dev.server import server, wait_until
from postroom_worker.office import Office

CHUNK = 100
REPLIES = {
    "taken": "250 2.1.5 ok",
    "greylisted": "451 4.7.1 <{}>: Recipient address rejected: greylisted, please try again later",
    "unknown": "550 5.1.1 <{}>: Recipient address rejected: user unknown in local recipient table",
}
"""How the relay answers to a recipient, by what its address begins with."""


def answer(session: Session) -> None:
    """Answer to a RCPT."""
    address = session.commands[-1].partition("<")[2].partition(">")[0]
    say(REPLIES[address.partition("-")[0]].format(address))(session)


def accept(office: Office, number: int, *to: str, **keywords: Any) -> list[str]:
    """Record letters, ready to be claimed, and return their ids."""
    ids = []
    for each in range(number):
        letter = Letter(
            [f"Ann Müller <{name}-{each}@example.com>" for name in to or ("taken",)],
            f"Guten Tag Nr. {each},\n{TEXT}",
            subject=SUBJECT,
            html=f"{HTML}<p>{each}</p>",
            settings=office.settings,
            **keywords,
        )
        office.ledger.accept(new_letter(letter, office.settings)[0])
        ids.append(letter.id)
    return ids


def deliver_all(office: Office, ids: Sequence[str]) -> None:
    """Deliver letters, in chunks as those of a campaign."""
    for start in range(0, len(ids), CHUNK):
        deliver(office, ids[start : start + CHUNK])


def delivered(office: Office, number: int, *to: str) -> list[str]:
    """Letters that were tried once."""
    ids = accept(office, number, *to)
    deliver_all(office, ids)
    return ids


def scheduled(office: Office, number: int) -> None:
    """Letters that wait for their time."""
    accept(office, number, send_at=office.ledger.now_ms() + 3_600_000)


def sending(office: Office, number: int) -> None:
    """Letters that a worker has claimed."""
    ids = accept(office, number)
    for start in range(0, number, CHUNK):
        office.ledger.claim(ids[start : start + CHUNK], office.worker)


def again(office: Office, number: int) -> None:
    """Letters that were deferred twice."""
    ids = delivered(office, number, "greylisted")
    for each in ids:
        operate.flush(office.ledger, each)
    deliver_all(office, ids)


def held(office: Office, number: int) -> None:
    """Letters that an operator holds."""
    for each in accept(office, number):
        operate.hold(office.ledger, each, by="ann@desk", reason="the offer is wrong")


def cancelled(office: Office, number: int) -> None:
    """Letters that an operator cancelled."""
    for each in accept(office, number):
        operate.cancel(office.ledger, each, by="ann@desk", reason="the offer is wrong")


def expired(office: Office, number: int) -> None:
    """Letters whose time was over before a worker came."""
    ids = accept(office, number, expires_in=1)
    last_ms = office.ledger.now_ms()
    wait_until(lambda: office.ledger.now_ms() > last_ms + 1000, "their time is over")
    deliver_all(office, ids)


def rejected(office: Office, number: int) -> None:
    """Letters that came over the queue with a key that nobody knows."""
    bells = Bells.of(office.settings)
    logging.getLogger("postroom").setLevel(logging.CRITICAL)  # each is told
    for each in range(number):
        letter = {"schema": 1, "to": f"ann-{each}@example.com", "message": TEXT, "html": HTML, "holograms": 1}
        with suppress(InvalidLetter):
            accept_letter(office, bells, letter, f"message-{time_ns()}")


STATES: Mapping[str, Callable[[Office, int], object]] = {
    "`scheduled`": scheduled,
    "`queued`": accept,
    "`sending`": sending,
    "`deferred`, after one attempt": lambda office, number: delivered(office, number, "greylisted"),
    "`deferred`, after two": again,
    "`held`": held,
    "`sent`: its account alone": lambda office, number: delivered(office, number, "taken"),
    "`partial`: of two, one refused": lambda office, number: delivered(office, number, "taken", "unknown"),
    "`failed`: refused": lambda office, number: delivered(office, number, "unknown"),
    "`failed`: expired": expired,
    "`cancelled`": cancelled,
    "`rejected`": rejected,
}


def measure(bring: Callable[[Office, int], object], number: int, relay_url: str) -> tuple[float, str]:
    """Return the octets that a letter takes, and what the server is."""
    with TemporaryDirectory() as folder, server(Path(folder), "--appendonly", "no") as running:
        settings = Settings.from_environment(
            {
                "POSTROOM_REDIS_URL": running.url,
                "POSTROOM_RELAY_URL": relay_url,
                "POSTROOM_FROM": "Bob <bob@example.org>",
                "POSTROOM_EVENTS_MAX": "0",
                "POSTROOM_LEASE_S": "3600",
            }
        )
        office = Office.open(settings, open_ledger(settings), "worker-1.example.org:4711")
        try:
            # What the server keeps once, however many letters there are: scripts, connections, the relay's standing.
            bring(office, CHUNK)
            before = used(office)
            bring(office, number)
            return (used(office) - before) / number, server_of(office)
        finally:
            office.pool.close()
            office.ledger.redis.close()


def used(office: Office) -> int:
    """The octets that its server uses for data."""
    return int(office.ledger.redis.info("memory")["used_memory_dataset"])


def server_of(office: Office) -> str:
    """Its server, and the allocator: other ones round up differently."""
    info = office.ledger.redis.info()
    version = info.get("valkey_version", info["redis_version"])
    return f"{info.get('server_name', 'redis')} {version}, {info['mem_allocator']}"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--letters", type=int, default=2000, help="of each state (%(default)s)")
    number = parser.parse_args().letters
    for name, value in environment().items():
        print(f"{name}: {value}")
    rows, found = [], ""
    with scripted_relay({"rcpt": answer}) as relay:
        for state, bring in STATES.items():
            octets, found = measure(bring, number, relay.url)
            rows.append(f"| {state} | {octets:,.0f} |")
    content = len(f"{TEXT}{HTML}".encode())
    print(f"server: {found}\ntext and HTML: {content} octets\n\n| state | octets a letter |\n| --- | ---: |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
