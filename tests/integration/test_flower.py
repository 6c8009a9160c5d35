"""What an operator sees in Flower: a real one, beside the shared worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from house import House
from postroom import Letter, LetterState, Receipt
from postroom.bell import publisher
from postroom.ledger import audit
from postroom.ledger.views import account
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

    def post(self, path: str, body: object) -> tuple[int, str]:
        """The status and what it answers to an operator who posts something."""
        parts = urlsplit(self.url)
        credentials = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        request = Request(f"http://{parts.hostname}:{parts.port}{path}", json.dumps(body).encode())
        request.add_header("Authorization", f"Basic {credentials}")
        try:
            with urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def act(self, name: str, letter_id: str, reason: str = "") -> dict[str, Any]:
        """Start an operator's task, and return its row when it is over."""
        body = {"args": [letter_id], "kwargs": {"reason": reason}}
        status, answer = self.post(f"/api/task/async-apply/postroom.{name}", body)
        assert status == 200, answer
        task_id = json.loads(answer)["task-id"]

        def row() -> Any:
            found = self.tasks().get(task_id, {})
            return found if found.get("state") in ("SUCCESS", "FAILURE") else None

        return dict(wait_until(row, f"Flower shows the end of postroom.{name}"))

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


def of_a_chunk(monitor: Monitor, receipts: list[Receipt], state: str) -> dict[str, Any]:
    """Wait until the row of a chunk shows a state, and return the row."""

    def row() -> Any:
        found = monitor.tasks().get(f"chunk-{receipts[0].id}", {})
        return found if found.get("state") == state else None

    return dict(wait_until(row, f"Flower shows the chunk as {state}"))


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
    row = monitor.wait_for(deferred, "SUCCESS")
    assert (row["args"], row["exception"]) == ("(g…@flower.example)", None), "what it waited for is over"
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


def test_a_letter_of_a_chunk_that_is_not_sent_is_a_row_of_its_own_as_well(shared: House, monitor: Monitor) -> None:
    shared.answers |= {"no@apart.example": refused, "grey@apart.example": greylisted(1000)}
    to = ("ann@apart.example", "no@apart.example", "grey@apart.example")
    good, failed, deferred = shared.postroom.send_letters(
        [Letter(each, "hi", settings=shared.postroom.settings) for each in to]
    )
    row = monitor.wait_for(failed, "FAILURE")
    assert (row["name"], row["args"]) == ("postroom.deliver", "(n…@apart.example)")
    assert row["exception"] == "NotDelivered('failed: 550 5.1.1 No such mailbox here')"
    assert "451 4.7.1 Greylisted" in monitor.wait_for(deferred, "RETRY")["exception"]
    assert row["worker"] == of_a_chunk(monitor, [good], "FAILURE")["worker"]
    assert good.id not in monitor.tasks()

    shared.answers["grey@apart.example"] = taken
    assert monitor.wait_for(deferred, "SUCCESS")["exception"] is None, "it went alone, and is the same row"


def test_what_a_relay_says_is_text_and_no_part_of_the_page(shared: House, monitor: Monitor) -> None:
    shared.answers["script@flower.test"] = lambda _: "550 5.1.1 <script>alert(1)</script>"
    receipt = shared.postroom.send_letter("script@flower.test", "hi")
    monitor.wait_for(receipt, "FAILURE")
    page = monitor.get(f"/task/{receipt.id}").decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_chunk_is_one_row_that_tells_how_its_letters_fared(shared: House, monitor: Monitor) -> None:
    shared.answers |= {"no@chunk.example": refused, "grey@chunk.example": greylisted(1000)}

    def sent(*to: str) -> list[Receipt]:
        return shared.postroom.send_letters([Letter(each, "hi", settings=shared.postroom.settings) for each in to])

    good = sent("ann@chunk.example", "ben@chunk.example")
    found = of_a_chunk(monitor, good, "SUCCESS")
    assert (found["args"], found["result"]) == ("(2 letters)", "{'sent': 2}")

    bad = sent("ann@chunk.example", "no@chunk.example", "grey@chunk.example", "ben@chunk.example")
    told = f"2 sent, 1 failed, 1 deferred; letter {bad[1].id}: 550 5.1.1 No such mailbox here"
    assert of_a_chunk(monitor, bad, "FAILURE")["exception"] == f"NotDelivered('{told}')"

    later = sent("ann@chunk.example", "grey@chunk.example")
    told = f"1 sent, 1 deferred; letter {later[1].id}: 451 4.7.1 Greylisted"
    assert told in of_a_chunk(monitor, later, "RETRY")["exception"]
    for receipt in (bad[2], later[1]):
        monitor.act("hold", receipt.id)


def test_operator_tasks_act_on_a_letter_and_tell_who_and_why(shared: House, monitor: Monitor) -> None:
    shared.answers["act@flower.example"] = refused
    receipt = shared.postroom.send_letter("act@flower.example", "hi")
    shared.wait_for(receipt, LetterState.FAILED)
    shared.answers["act@flower.example"] = taken
    assert monitor.act("retry", receipt.id, "the mailbox is there now")["state"] == "SUCCESS"
    shared.wait_for(receipt, LetterState.SENT)
    (retried,) = [each for each in account(shared.ledger, receipt.id).history if each["event"] == "retried"]
    assert (retried["by"], retried["why"]) == ("postroom, in Flower", "the mailbox is there now")
    told = next(audit.latest(shared.ledger))
    assert (told.entry.act, told.entry.letters, told.entry.by) == ("retry", receipt.id, "postroom, in Flower")
    assert told.end is not None
    assert told.end.done == 1

    again = monitor.act("retry", receipt.id)
    assert again["state"] == "FAILURE"
    assert f"letter {receipt.id} is sent: there is nobody to send it to again" in again["exception"]


@pytest.mark.parametrize(
    ("acts", "state"),
    [
        (["hold", "hold"], LetterState.HELD),
        (["cancel", "cancel"], LetterState.CANCELLED),
        (["hold", "release", "release"], LetterState.SCHEDULED),
        (["hold", "expire", "expire"], LetterState.FAILED),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else str(each),
)
def test_an_act_that_is_done_twice_is_done_once(
    shared: House, monitor: Monitor, acts: list[str], state: LetterState
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    receipt = shared.postroom.send_letter("twice@flower.example", "hi", send_at=later)
    rows = [monitor.act(each, receipt.id) for each in acts]
    assert [each["state"] for each in rows] == ["SUCCESS"] * len(acts)
    assert rows[-1]["result"] == f"{{'state': '{state}', 'done': False}}"
    assert receipt.status().state == state
    assert len(shared.events(receipt)) == len(acts), "it was accepted, and each act is told once"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("async-apply/postroom.retry", {"args": ["L1"], "kwargs": {"rason": "x"}}, 400),
        ("async-apply/postroom.retry", {"args": ["L1"], "kwargs": {"by": "another"}}, 400),
        ("async-apply/postroom.retry", {"args": ["L1", "L2"]}, 400),
        ("async-apply/postroom.retry", {"args": []}, 400),
        ("async-apply/postroom.retry", {"args": ["no id"]}, 400),
        ("async-apply/postroom.retry", {"args": ["L1"], "countdown": 60}, 400),
        ("async-apply/postroom.retry", {"args": ["L1"], "kwargs": {"reason": 1}}, 400),
        ("async-apply/postroom.deliver", {"args": [["L1"]]}, 403),
        ("async-apply/celery.accumulate", {"args": [1]}, 403),
        ("async-apply/postroom.purge", {"args": ["L1"]}, 403),
        ("send-task/postroom.retry", {"args": ["L1"]}, 403),
        ("apply/postroom.retry", {"args": ["L1"]}, 403),
        ("revoke/L1", {}, 403),
    ],
)
def test_what_is_no_act_of_ours_or_not_rightly_said_is_refused(
    monitor: Monitor, path: str, body: object, status: int
) -> None:
    assert monitor.post(f"/api/task/{path}", body)[0] == status


def test_a_worker_refuses_what_an_act_does_not_know(shared: House, monitor: Monitor) -> None:
    publisher(shared.postroom.settings.broker, 5).send_task(
        "postroom.cancel", ("L1",), {"mode": "hard"}, task_id="strange-cancel"
    )

    def row() -> Any:
        return monitor.tasks().get("strange-cancel", {}).get("exception")

    assert "unexpected keyword argument 'mode'" in str(wait_until(row, "the task has failed"))


def test_the_health_check_says_ok_to_anybody_and_nothing_else(monitor: Monitor) -> None:
    assert monitor.get("/healthcheck", password="another") == b"OK"


@pytest.mark.parametrize("path", ["/", "/tasks", "/api/tasks", "/api/workers", "/metrics"])
def test_nothing_is_shown_without_the_password(monitor: Monitor, path: str) -> None:
    assert monitor.get(path)
    with pytest.raises(HTTPError, match="401"):
        monitor.get(path, password="another")
