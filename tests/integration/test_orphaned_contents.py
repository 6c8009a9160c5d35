"""A sender dies between keeping a letter's contents and recording the letter: they do not stay for ever."""

from __future__ import annotations

import hashlib

import pytest

from cluster import all_keys
from house import NewHouse, desk
from postroom import InvalidLetter
from postroom.ledger.orphans import drop_orphans

OCTETS = bytes(1000)
SHA256 = hashlib.sha256(OCTETS).hexdigest()


def test_what_was_kept_for_a_letter_that_never_came_is_dropped_after_a_day(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        here.ledger.contents.keep("never-came", {SHA256: OCTETS})
        assert drop_orphans(here.ledger, 10) == 0, "its sender may be about to record it"
        assert here.ledger.contents.read(SHA256) == OCTETS
        assert drop_orphans(here.ledger, 10, after_ms=0) == 1
        assert all_keys(here.ledger.redis) == []


def test_what_a_letter_needs_stays(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_CONTENTS_OVER="10") as here:
        here.accept("ann@example.com", attachments=[("a.bin", OCTETS)])
        here.ledger.contents.keep("never-came", {SHA256: OCTETS})
        assert drop_orphans(here.ledger, 10, after_ms=0) == 1
        assert here.ledger.contents.read(SHA256) == OCTETS
        assert drop_orphans(here.ledger, 10, after_ms=0) == 0, "all is looked at once"


def test_what_was_kept_under_the_id_of_another_letter_is_dropped(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_CONTENTS_OVER="10")
    send = here.postroom.send_letter
    send("ann@example.com", "hi", idempotency_key="one")
    with pytest.raises(InvalidLetter, match="another letter was sent under it"):
        send("ann@example.com", "hi", idempotency_key="one", attachments=[("a.bin", OCTETS)])
    assert here.ledger.contents.read(SHA256) == OCTETS
    assert drop_orphans(here.ledger, 10, after_ms=0) == 1
    with pytest.raises(ValueError, match="not in the ledger"):
        here.ledger.contents.read(SHA256)
