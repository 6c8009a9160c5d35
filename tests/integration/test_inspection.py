"""Celery's remote control, asked for our relays, breakers and claims: the shared worker answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from threading import Event
from typing import Any

from house import House
from postroom.bell import publisher
from postroom.ledger.suspensions import Suspension, lift, suspend
from postroom_worker.dev.server import wait_until

WORKER = f"worker@{socket.gethostname()}"


def asked(here: House, what: str) -> Any:
    """What the worker answers; one that has just been started may not listen yet."""
    control: Any = publisher(here.postroom.settings.broker, 5).control

    def answer() -> Any:
        # The connection that other tests left in the pool may have ended: RabbitMQ hangs up on who keeps silent.
        with suppress(OSError):
            return control.inspect(destination=[WORKER], timeout=1)._request(what)

    return dict(wait_until(answer, f"the worker tells its {what}"))[WORKER]


def test_the_command_of_celery_knows_ours(shared: House) -> None:
    asked(shared, "relays")
    command = [sys.executable, "-m", "celery", "-A", "postroom_worker", "inspect", "relays", "--json"]
    found = subprocess.run(
        [*command, "--timeout", "20", "--destination", WORKER],
        env={**os.environ, **shared.environment, "POSTROOM_RELAY_URL": "smtp://elsewhere:25"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(found.stdout) == {
        WORKER: [
            {
                "relay": "default",
                "where": f"127.0.0.1:{shared.relay.port}",
                "security": "none",
                "senders": [],
                "tags": [],
            }
        ]
    }


def test_the_letters_that_a_worker_has_in_hand_are_told_and_by_whom(shared: House) -> None:
    is_seen = Event()
    shared.answers["slow@inspection.example"] = lambda _: None if is_seen.wait(60) else "451 too late"
    receipt = shared.postroom.send_letter("slow@inspection.example", "hi")

    def in_hand() -> Any:
        return next((each for each in asked(shared, "claims") if each["letter"] == receipt.id), None)

    found = dict(wait_until(in_hand, "the letter is in hand"))
    is_seen.set()
    assert found["process"].startswith(f"{socket.gethostname()}:")
    assert 0 < found["left_ms"] < 31_000, "the clock was read a moment before"
    assert receipt.wait().state == "sent"
    wait_until(lambda: not in_hand(), "it is in hand no longer")


def test_how_the_relays_stand_is_told_and_why(shared: House) -> None:
    assert [(each["relay"], each["state"]) for each in asked(shared, "breakers")] == [("default", "closed")]
    moved = Suspension(kind="relay", name="default", by="ann@desk", why="it is being moved")
    suspend(shared.ledger, moved)
    try:
        found = dict(wait_until(lambda: [e for e in asked(shared, "breakers") if e["state"] != "closed"], "heard")[0])
    finally:
        lift(shared.ledger, moved)
    assert (found["state"], found["why"]) == ("suspended", str(moved))
    wait_until(lambda: asked(shared, "breakers")[0]["state"] == "closed", "it is resumed")
