"""What an operator sees in Flower: a real one, beside the shared worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from house import House
from postroom import Receipt
from postroom_worker.dev.capture import greylisted, refused, taken
from postroom_worker.dev.dev import flower
from postroom_worker.dev.server import wait_until


@dataclass(frozen=True, slots=True)
class Monitor:
    """A running Flower."""

    url: str
    """With user and password."""

    def get(self, path: str, *, password: str | None = None) -> bytes:
        """What it answers to an operator, or to somebody with another password."""
        parts = urlsplit(self.url)
        credentials = f"{parts.username}:{parts.password if password is None else password}"
        request = Request(f"http://{parts.hostname}:{parts.port}{path}")
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
        with urlopen(request, timeout=10) as response:
            found: bytes = response.read()
        return found

    def tasks(self) -> dict[str, Any]:
        """The rows, by task id."""
        found: dict[str, Any] = json.loads(self.get("/api/tasks"))
        return found

    def wait_for(self, receipt: Receipt, state: str) -> dict[str, Any]:
        """Wait until a letter's row shows a state, and return the row."""

        def row() -> Any:
            found = self.tasks().get(receipt.id, {})
            return found if found.get("state") == state else None

        return dict(wait_until(row, f"Flower shows letter {receipt.id} as {state}"))

    def hears(self) -> bool:
        """True once it is up, and has heard a worker: it shows only what happens from then on."""
        try:
            return bool(json.loads(self.get("/workers?json=1"))["data"])
        except OSError:
            return False


@pytest.fixture(scope="module")
def monitor(shared: House) -> Iterator[Monitor]:
    with flower(shared.folder, shared.environment) as url:
        running = Monitor(url)
        wait_until(running.hears, "Flower hears the worker")
        yield running


def test_every_letter_is_one_row_that_shows_what_became_of_it(shared: House, monitor: Monitor) -> None:
    shared.answers |= {"grey@flower.example": greylisted(1000), "no@flower.example": refused}
    sent = shared.postroom.send_letter("ann@flower.example", "hi")
    failed = shared.postroom.send_letter("no@flower.example", "hi")
    partial = shared.postroom.send_letter(["ann@flower.example", "no@flower.example"], "hi")
    deferred = shared.postroom.send_letter("grey@flower.example", "hi")

    assert monitor.wait_for(sent, "SUCCESS")["result"] == "{'state': 'sent', 'why': ''}"
    refusal = "550 5.1.1 No such mailbox here"
    assert monitor.wait_for(failed, "FAILURE")["exception"] == f"NotDelivered('failed: {refusal}')"
    assert monitor.wait_for(partial, "FAILURE")["exception"] == f"NotDelivered('partial: {refusal}')"
    assert "451 4.7.1 Greylisted" in monitor.wait_for(deferred, "RETRY")["exception"]

    shared.answers["grey@flower.example"] = taken
    assert monitor.wait_for(deferred, "SUCCESS")["args"] == "(g…@flower.example)"
    assert monitor.tasks()[partial.id]["args"] == "(a…@flower.example +1)"
    rows = {task_id for task_id, row in monitor.tasks().items() if "@flower.example" in row["args"]}
    assert rows == {each.id for each in (sent, failed, partial, deferred)}


def test_no_address_and_nothing_of_a_letter_is_shown(shared: House, monitor: Monitor) -> None:
    shared.answers["flower-secret@example.com"] = lambda _: (
        "550 5.1.1 <flower-secret@example.com>: Recipient address rejected: User unknown"
    )
    receipt = shared.postroom.send_letter("Ann <flower-secret@example.com>", "a secret text", subject="a secret matter")
    row = monitor.wait_for(receipt, "FAILURE")
    assert "Recipient address rejected" in row["exception"]
    assert "secret" not in str(row)
    assert "secret" not in monitor.get(f"/task/{receipt.id}").decode()


@pytest.mark.parametrize("path", ["/", "/tasks", "/api/tasks", "/api/workers"])
def test_nothing_is_shown_without_the_password(monitor: Monitor, path: str) -> None:
    assert monitor.get(path)
    with pytest.raises(HTTPError, match="401"):
        monitor.get(path, password="another")
