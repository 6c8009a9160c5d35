"""What a worker holds in memory: the contents of the letters that are on their way, and not those of a whole chunk."""

from __future__ import annotations

import gc

from house import desk
from postroom import LetterState
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import Session, say, scripted_relay
from postroom_worker.parcel import Parcel


def test_a_content_is_let_go_when_its_letter_is_sent(redis_url: str) -> None:
    held: list[int] = []
    ours: set[str] = set()

    def count(session: Session) -> None:
        parcels = [each for each in gc.get_objects() if isinstance(each, Parcel) and each.claim.letter_id in ours]
        held.append(sum(bool(each.content) for each in parcels))
        say("250 2.0.0 ok")(session)

    with scripted_relay({"content": count}) as relay, desk(redis_url, relay.url, POSTROOM_SESSIONS="1") as here:
        large = [("large.bin", bytes(100_000))]
        receipts = [here.accept(f"a-{number}@example.com", attachments=large) for number in range(6)]
        ours |= {each.id for each in receipts}
        deliver(here.office, list(ours))
        assert {each.status().state for each in receipts} == {LetterState.SENT}
    assert len(held) == 6
    assert max(held) <= 3, "one is on its way; a name or two may still stand for one before"
