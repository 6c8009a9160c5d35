"""What a worker answers to ``celery -A postroom_worker inspect``: its relays, their breakers, the claims in hand."""

from __future__ import annotations

import os
import socket
from typing import Any

from celery.worker.control import inspect_command

from postroom.ledger.claims import in_hand
from postroom_worker.office import office

_CLAIMS_MAX = 1000


@inspect_command()
def relays(state: Any) -> list[dict[str, Any]]:
    """The relays of this worker's settings, in order of failover."""
    return [
        {
            "relay": each.name,
            "where": each.program[0] if each.program else f"{each.host}:{each.port}",
            "security": str(each.security),
            "senders": list(each.senders),
            "tags": list(each.tags),
        }
        for each in office().relays
    ]


@inspect_command()
def breakers(state: Any) -> list[dict[str, Any]]:
    """How each relay stands with all workers together: whether it is left alone, or suspended, how long, and why."""
    found = []
    for name, breaker in office().breakers.items():
        standing = breaker.look(may_probe=False)
        suspended = office().orders.relay_wait(breaker.relay)
        found.append(
            {
                "relay": name,
                "state": "suspended" if suspended.ms else standing.state,
                "left_ms": suspended.ms or standing.left_ms,
                "why": suspended.why or standing.why,
                "refusals": standing.refusals,
                "sessions": standing.sessions,
                "rates": dict(standing.rates),
            }
        )
    return found


@inspect_command()
def claims(state: Any) -> list[dict[str, Any]]:
    """The letters that this worker has in hand: which process, and for how long its claim holds unless renewed."""
    pids = {os.getpid(), *state.consumer.pool.info.get("processes", ())}
    own = {f"{socket.gethostname()}:{pid}" for pid in pids}
    return [
        {"letter": each.letter_id, "process": each.worker, "in_window": each.is_in_window, "left_ms": each.left_ms}
        for each in in_hand(office().ledger, own, _CLAIMS_MAX)
    ]
