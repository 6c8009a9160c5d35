"""The same octets are kept for one letter and dropped for another: they are there as long as one needs them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from cluster import all_keys
from house import desk

OCTETS = bytes(1000)
SHA256 = hashlib.sha256(OCTETS).hexdigest()


def test_octets_are_there_for_whoever_keeps_them_whatever_others_drop(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        contents = here.ledger.contents

        def keep_and_drop(name: int) -> None:
            for number in range(50):
                letter_id = f"letter-{name}-{number}"
                contents.keep(letter_id, {SHA256: OCTETS})
                assert contents.read(SHA256) == OCTETS
                contents.drop(letter_id, [SHA256])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(keep_and_drop, range(4)))
        assert all_keys(here.ledger.redis) == []
