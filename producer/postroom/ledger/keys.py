"""The names of the ledger's keys. Those of a letter carry the hash tag of its partition: scripts touch one slot."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from postroom.states import LetterState


@dataclass(frozen=True, slots=True)
class Keys:
    """Names the keys of a ledger of so many partitions."""

    partitions: int = 1

    def partition(self, letter_id: str) -> int:
        """Return the partition that a letter lives in: it follows from the id alone."""
        return crc32(letter_id.encode()) % self.partitions

    def letter(self, letter_id: str) -> str:
        """The hash of a letter: its content, state, recipients and counts."""
        return f"postroom:{{{self.partition(letter_id)}}}:letter:{letter_id}"

    def history(self, letter_id: str) -> str:
        """The list of everything that happened to a letter, as JSON objects."""
        return f"postroom:{{{self.partition(letter_id)}}}:history:{letter_id}"

    def index(self, state: LetterState, partition: int) -> str:
        """The sorted set of the letters in a state, by the time at which something has to happen next."""
        return f"postroom:{{{partition}}}:state:{state}"

    def index_of(self, letter_id: str, state: LetterState) -> str:
        """The index of a state in the letter's partition."""
        return self.index(state, self.partition(letter_id))

    def events(self, partition: int) -> str:
        """The stream of what happens to the letters of a partition; `prelude.lua` makes the same name."""
        return f"postroom:{{{partition}}}:events"

    def contents(self, sha256: str) -> str:
        """The octets of a large part, by their digest."""
        return f"postroom:{{contents-{sha256[:4]}}}:{sha256}"

    def contents_letters(self, sha256: str) -> str:
        """The letters that need these contents."""
        return f"{self.contents(sha256)}:letters"

    @staticmethod
    def relay_pause(relay: str) -> str:
        """Why a relay is left alone; expires when it may be used again."""
        return f"postroom:{{relay-{relay}}}:pause"

    @staticmethod
    def relay_failures(relay: str) -> str:
        """How many times in a row a relay was found down."""
        return f"postroom:{{relay-{relay}}}:failures"

    @staticmethod
    def audit() -> str:
        """The sorted set of what operators did, by the time."""
        return "postroom:audit"

    @staticmethod
    def workers() -> str:
        """The sorted set of workers, by when each last looked at the schedule."""
        return "postroom:workers"

    @staticmethod
    def probe(nonce: str) -> str:
        """That the task of a probe was done."""
        return f"postroom:probe:{nonce}"
