"""The envelope (RFC 5321 §2.3.1): where a letter goes and where reports of failure return, whatever its header says."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from postroom.address import Mailbox


class Envelope(msgspec.Struct, frozen=True):
    """One reverse-path, one or more forward-paths."""

    reverse_path: str
    """The address that reports of failure return to; empty for the null reverse-path ``<>``."""
    recipients: tuple[str, ...]
    """The forward-paths, each mailbox once, in the order named."""
    notify: tuple[str, ...] = ()
    """When reports of delivery are asked for: ``never`` alone, or some of ``success``, ``failure``, ``delay``; nothing
    leaves it to the relay (NOTIFY, RFC 3461 §4.1)."""
    ret: str = ""
    """What of the letter a report of failure returns: ``full`` or ``headers`` (RET, RFC 3461 §4.3)."""
    envid: str = ""
    """What reports name the letter by (ENVID, RFC 3461 §4.4); printable ASCII, not yet xtext."""

    @property
    def needs_smtputf8(self) -> bool:
        """True when an address has a local part outside ASCII (RFC 6531)."""
        return not all(path.isascii() for path in (self.reverse_path, *self.recipients))


def forward_paths(mailboxes: Iterable[Mailbox]) -> tuple[str, ...]:
    """Return the addresses, each recipient once however often it was named.

    Local parts are compared exactly (RFC 5321 §2.4), domains without regard to case.
    """
    mailboxes = tuple(mailboxes)
    if len(mailboxes) == 1:
        return (mailboxes[0].address,)
    paths: dict[str, str] = {}
    for mailbox in mailboxes:
        paths.setdefault(mailbox.key, mailbox.address)
    return tuple(paths.values())
