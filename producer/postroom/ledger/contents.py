"""The octets of large parts, stored once by SHA-256, however many letters carry them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from postroom.ledger.availability import available
from postroom.ledger.durability import Durability
from postroom.ledger.keys import Keys
from postroom.ledger.room import Room
from postroom.ledger.scripts import Call, Scripts


@dataclass(frozen=True, slots=True)
class Contents:
    """Stores, reads and drops contents."""

    scripts: Scripts
    keys: Keys
    room: Room
    durability: Durability | None = None

    def keep(self, letter_id: str, contents: Mapping[str, bytes]) -> None:
        """Store what a letter needs, by digest: as `keep_all`."""
        with available(letter_id):
            self.keep_all({letter_id: contents} if contents else {})

    def keep_all(self, letters: Mapping[str, Mapping[str, bytes]]) -> None:
        """Store what letters need: by id, octets by digest. Octets that are there already are not sent again.

        Two round trips, and one for each content that is not there.

        Raises:
            LedgerUnavailable: Redis is away, full or read-only.
        """
        if not letters:
            return
        octets = {sha256: octets for contents in letters.values() for sha256, octets in contents.items()}
        needed_by = _by_digest(letters)
        with available():
            self.room.check()
            self.note_all(letters)
            calls = [self._keep(*each) for each in needed_by.items()]
            for sha256, is_here in zip(needed_by, self.scripts.run_all(calls), strict=True):
                if not is_here:
                    # Not by the script: a megabyte in its arguments takes Redis four times as long.
                    self.scripts.redis.set(self.keys.contents(sha256), octets[sha256])
            if self.durability:
                self.durability.run_all(self.scripts, calls)

    def note_all(self, letters: Mapping[str, Collection[str]]) -> None:
        """Note which contents are kept for letters, by id, so that they are found should nobody need them.

        Raises:
            LedgerUnavailable: Redis is away, full or read-only.
        """
        if not letters:
            return
        with available():
            self.scripts.run(Call("note_kept", [self.keys.kept()], ["\n".join(map(_kept, letters, letters.values()))]))

    def _keep(self, sha256: str, letter_ids: Sequence[str]) -> Call:
        return Call("keep", [self.keys.contents(sha256), self.keys.contents_letters(sha256)], [" ".join(letter_ids)])

    def read(self, sha256: str) -> bytes:
        """Return the octets of a digest.

        Raises:
            ValueError: they are not there, or are not what the digest says.
            LedgerUnavailable: Redis is away.
        """
        with available():
            octets = cast("bytes | None", self.scripts.redis.get(self.keys.contents(sha256)))
        if octets is None:
            raise ValueError(f"the contents {sha256[:12]}… are not in the ledger")
        if hashlib.sha256(octets).hexdigest() != sha256:
            raise ValueError(f"the contents {sha256[:12]}… are damaged")
        return octets

    def drop(self, letter_id: str, sha256s: Collection[str]) -> None:
        """Say that a letter needs these no longer: as `drop_all`."""
        self.drop_all({letter_id: sha256s})

    def drop_all(self, letters: Mapping[str, Collection[str]]) -> None:
        """Say that letters, by id, need these no longer; those that nobody needs are removed. Two round trips.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        calls = [
            Call("drop", [self.keys.contents(sha256), self.keys.contents_letters(sha256)], [" ".join(ids)])
            for sha256, ids in _by_digest(letters).items()
        ]
        if not calls:
            return
        with available():
            self.scripts.run_all(calls)
            self.scripts.redis.zrem(self.keys.kept(), *map(_kept, letters, letters.values()))


def _by_digest(letters: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The letters of each digest."""
    found: dict[str, list[str]] = {}
    for letter_id, sha256s in letters.items():
        for sha256 in sha256s:
            found.setdefault(sha256, []).append(letter_id)
    return found


def _kept(letter_id: str, sha256s: Iterable[str]) -> str:
    """What is noted of contents that are kept for a letter; `orphans` reads it."""
    return " ".join([letter_id, *sha256s])
