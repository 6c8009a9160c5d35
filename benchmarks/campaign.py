"""Whether a campaign delays letters sent alone: how long these take with and without one. ``python campaign.py``

A letter's time is what its own history says, by Redis's clock: from when it was accepted to when its attempt was
recorded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from postroom import LetterState, Postroom, Settings, merge
from postroom.ledger import views
from postroom_worker.dev.server import server, wait_until
from processes import running
from rows import CELERY_WORKER
from sink import sink

_DUE_AFTER_S = 1.0
_TEXT = "Dear {name},\n\nthis month there is much to tell, and as much to read on our pages.\n" * 8


@dataclass(frozen=True, slots=True)
class Run:
    """What letters sent alone met."""

    took_ms: list[int]
    left: int
    """Letters of the campaign that were still to be sent when the last of them was sent."""

    def row(self, name: str) -> str:
        """A row of the table."""
        nines = quantiles(self.took_ms, n=20)[-1]
        return f"| {name} | {median(self.took_ms):.0f} | {nines:.0f} | {max(self.took_ms)} | {self.left} |"


def singles(postroom: Postroom, number: int, every_s: float) -> Run:
    """Send letters alone, one after the other, and wait for them."""
    receipts = []
    for each in range(number):
        receipts.append(postroom.send_letter(f"single-{each}@example.com", "Your password", from_="shop@example.org"))
        time.sleep(every_s)
    for receipt in receipts:
        receipt.wait()
    found = views.counts(postroom.ledger)
    left = sum(found[state] for state in (LetterState.SCHEDULED, LetterState.QUEUED, LetterState.SENDING))
    histories = [views.account(postroom.ledger, each.id).history for each in receipts]
    return Run([_took_ms([(str(event["event"]), int(event["at_ms"])) for event in each]) for each in histories], left)


def _took_ms(history: list[tuple[str, int]]) -> int:
    at_ms = dict(history)
    return at_ms["attempt"] - at_ms["queued"]


def people(number: int) -> Iterator[dict[str, str]]:
    """The campaign's rows."""
    return ({"name": f"Reader {each}", "email": f"reader-{each}@example.com"} for each in range(number))


def main() -> None:
    """Run both, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--letters", type=int, default=20_000, help="of the campaign")
    parser.add_argument("--singles", type=int, default=100)
    parser.add_argument("--every-ms", type=float, default=50, help="between two letters sent alone")
    parser.add_argument("--chunk", type=int, default=100)
    parser.add_argument("--scheduled", action="store_true", help="the campaign comes due at once, as its retries do")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sink(Path(folder)) as relay, server(Path(folder) / "redis") as redis:
        variables = {
            "POSTROOM_REDIS_URL": redis.url,
            "POSTROOM_RELAY_URL": f"smtp+plain://127.0.0.1:{relay.port}",
            "POSTROOM_EHLO_NAME": "client.example.org",
        }
        postroom = Postroom(Settings.from_environment(variables))
        worker = f"{sys.executable} -m celery -A postroom_worker {CELERY_WORKER}"
        with running(worker, Path(folder) / "worker", variables):
            postroom.send_letter("first@example.com", "hi", from_="shop@example.org").wait()
            alone = singles(postroom, given.singles, given.every_ms / 1000)
            began_s = time.monotonic()
            campaign = merge(
                people(given.letters),
                "{name} <{email}>",
                _TEXT,
                subject="News for {name}",
                from_="shop@example.org",
                send_at=int(1000 * (time.time() + _DUE_AFTER_S)) if given.scheduled else None,
                priority="bulk",
            )
            postroom.send_letters(campaign, chunk=given.chunk)
            queued_s = time.monotonic() - began_s
            beside = singles(postroom, given.singles, given.every_ms / 1000)
            total = given.letters + 2 * given.singles + 1
            wait_until(lambda: views.counts(postroom.ledger)[LetterState.SENT] >= total, "all are sent", 600)
            sent_s = time.monotonic() - began_s
        print(f"{' '.join(sys.argv)}: {given.letters} letters queued in {queued_s:.1f} s, sent after {sent_s:.1f} s\n")
        print("| letters sent alone | median ms | 95% ms | most ms | campaign's letters left at their end |")
        print("| --- | ---: | ---: | ---: | ---: |")
        print(alone.row("by themselves"))
        print(beside.row("beside the campaign"))


if __name__ == "__main__":
    main()
