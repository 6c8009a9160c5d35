"""The names of the ledger's keys. Those of a letter carry the hash tag of its partition: scripts touch one slot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from zlib import crc32

from postroom.states import LetterState

_NAMED = re.compile(r"(postroom:(?:\{[^}]*\}:)?)([a-z]+)(?::.*)?", re.DOTALL)
_CONTENTS = re.compile(r"postroom:\{contents-[0-9a-f]{4}\}:[0-9a-f]{64}(:letters)?")
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "letter": "hash",
        "history": "list",
        "state": "zset",
        "events": "stream",
        "kept": "zset",
        "breaker": "hash",
        "slowed": "hash",
        "refusals": "hash",
        "letters": "hash",
        "connections": "hash",
        "sessions": "zset",
        "trace": "stream",
        "webhooks": "hash",
        "workers": "zset",
        "relays": "zset",
        "suspensions": "hash",
        "traces": "hash",
        "audit": "zset",
    }
)


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

    def of_letter(self, letter_id: str, *states: LetterState) -> list[str]:
        """What most verbs touch: a letter's hash, its history, and the indices of these states in its partition."""
        tag = f"postroom:{{{self.partition(letter_id)}}}"
        return [f"{tag}:letter:{letter_id}", f"{tag}:history:{letter_id}", *[f"{tag}:state:{each}" for each in states]]

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

    def webhooks(self, partition: int, place: int) -> str:
        """The hash of the webhooks that wait for the receiver at a place of their list, by id."""
        return f"postroom:{{{partition}}}:webhooks{f':{place}' if place else ''}"

    def webhooks_due(self, partition: int, place: int) -> str:
        """The sorted set of these webhooks, by when they are due."""
        return f"{self.webhooks(partition, place)}:due"

    def contents(self, sha256: str) -> str:
        """The octets of a large part, by their digest."""
        return f"postroom:{{contents-{sha256[:4]}}}:{sha256}"

    def contents_letters(self, sha256: str) -> str:
        """The letters that need these contents."""
        return f"{self.contents(sha256)}:letters"

    @staticmethod
    def layout() -> str:
        """Into how many partitions the ledger was begun; not there for one."""
        return "postroom:partitions"

    @staticmethod
    def kept() -> str:
        """What was kept for letters: ids and digests, by when it was."""
        return "postroom:kept"

    @staticmethod
    def relay(relay: str, what: str, domain: str = "") -> str:
        """Something that is shared of a relay, or of one recipient domain there."""
        return f"postroom:{{relay-{relay}}}:{what}{':' if domain else ''}{domain}"

    def relay_breaker(self, relay: str) -> str:
        """Why and until when a relay is left alone, how many times in a row, and who probes it."""
        return self.relay(relay, "breaker")

    def relay_slowed(self, relay: str) -> str:
        """The rates that a relay asked for less of: by recipient domain, or by nothing for all."""
        return self.relay(relay, "slowed")

    def relay_refusals(self, relay: str) -> str:
        """The last answer about us, and how many times in a row it was given."""
        return self.relay(relay, "refusals")

    def relay_sessions(self, relay: str, domain: str = "") -> str:
        """The sessions open with a relay, or those that deliver to a domain there, by the end of their lease."""
        return self.relay(relay, "sessions", domain)

    def relay_wanted(self, relay: str) -> str:
        """There while a process waits for a session to end."""
        return self.relay(relay, "wanted")

    def relay_letters(self, relay: str, domain: str = "") -> str:
        """The bucket of letters a second."""
        return self.relay(relay, "letters", domain)

    def relay_connections(self, relay: str, domain: str = "") -> str:
        """The bucket of connections a second."""
        return self.relay(relay, "connections", domain)

    def relay_trace(self, relay: str) -> str:
        """The stream of what is said with a relay, while somebody traces it."""
        return self.relay(relay, "trace")

    @staticmethod
    def suspensions() -> str:
        """The suspensions, by what each lets wait."""
        return "postroom:suspensions"

    @staticmethod
    def traces() -> str:
        """The relays that somebody traces, and until when."""
        return "postroom:traces"

    @staticmethod
    def type_of(key: str) -> str | None:
        """Redis's name for the type that a key is of; None for one that scripts do not depend on."""
        if key == Keys.counts():
            return "hash"
        if contents := _CONTENTS.fullmatch(key):
            return "zset" if contents[1] else "string"
        found = _NAMED.fullmatch(key)
        if found and found[2] == "webhooks" and key.endswith(":due"):
            return "zset"
        return _TYPES.get(found[2]) if found else None

    @staticmethod
    def beside(key: str) -> list[str]:
        """A key, and those that a script writes to beside it without being given them: with a history, the events."""
        found = _NAMED.fullmatch(key)
        return [key, f"{found[1]}events"] if found and found[2] == "history" else [key]

    @staticmethod
    def put_aside(key: str) -> str:
        """What a key is called whose value somebody else wrote; `put_aside.lua` makes the same name."""
        return f"{key if '{' in key else f'{{{key}}}'}:damaged"

    @staticmethod
    def damaged() -> str:
        """The set of the keys that were put aside."""
        return "postroom:damaged"

    @staticmethod
    def audit() -> str:
        """The sorted set of what operators did, by the time."""
        return "postroom:audit"

    @staticmethod
    def counts() -> str:
        """The hash of what all workers have counted."""
        return "postroom:{counts}"

    @staticmethod
    def counted(nonce: str) -> str:
        """That what a worker counted was added."""
        return f"postroom:{{counts}}:{nonce}"

    @staticmethod
    def workers() -> str:
        """The sorted set of workers, by when each last looked at the schedule."""
        return "postroom:workers"

    @staticmethod
    def relays() -> str:
        """The sorted set of the workers' relays, by when a worker last told of each."""
        return "postroom:relays"

    @staticmethod
    def probe(nonce: str) -> str:
        """That the task of a probe was done."""
        return f"postroom:probe:{nonce}"
