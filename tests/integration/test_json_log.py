"""Logs as JSON: every line an object, with what it is about, and nothing of a letter."""

from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

import pytest

from house import NewHouse, desk
from postroom import InvalidSettings, LetterState, Settings
from postroom_worker.dev.capture import refused
from postroom_worker.dev.scripted_relay import say, scripted_relay
from postroom_worker.dev.server import wait_until
from postroom_worker.json_log import JsonFormatter, is_wanted

ANNA = "anna.geheim@example.com"


def logged(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]


@pytest.fixture
def log() -> StringIO:
    """What Postroom logs, as a worker that logs JSON writes it."""
    return StringIO()


@pytest.fixture(autouse=True)
def handler(log: StringIO, caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, "postroom")
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonFormatter())
    logging.getLogger("postroom").addHandler(handler)
    yield
    logging.getLogger("postroom").removeHandler(handler)


def test_an_attempt_is_one_line_that_names_letter_relay_and_reply(redis_url: str, log: StringIO) -> None:
    answer = say(f"451 4.7.1 <{ANNA}>: greylisted, come back\x1b[2J later")
    with scripted_relay({"rcpt": answer}) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept(ANNA, "geheim: the text", subject="geheim: the subject")
        here.deliver(receipt)
    (line,) = logged(log.getvalue())
    reply = "451 4.7.1 <…@example.com>: greylisted, come back\\x1b[2J later"
    assert line.pop("took_ms") >= 0
    assert line.pop("process") > 1
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "postroom",
        "message": f"letter {receipt.id}: attempt 1 through default: deferred: {reply}",
        "letter": receipt.id,
        "attempt": 1,
        "relay": "default",
        "outcome": "deferred",
        "state": "deferred",
        "reply": reply,
        "recipients": 1,
    }
    assert "geheim" not in log.getvalue()


def test_a_line_about_a_relay_names_it(redis_url: str, log: StringIO) -> None:
    with scripted_relay({"mail": say(f"421 4.3.2 not now, {ANNA}")}) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept(ANNA))
    (line,) = [each for each in logged(log.getvalue()) if "left alone" in each["message"]]
    assert (line["relay"], line["reply"]) == ("default", "421 4.3.2 not now, …@example.com")


def test_a_fault_is_one_line_with_its_traceback(log: StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("postroom").exception("a fault of ours")
    (line,) = logged(log.getvalue())
    assert line["message"] == "a fault of ours"
    assert line["error"].splitlines()[-2:] == ["ValueError: first", "second"]


def test_what_else_hangs_on_a_record_is_not_written(log: StringIO) -> None:
    logging.getLogger("postroom").info("hi", extra={"letter": "L", "content": "geheim", "data": {"args": "geheim"}})
    (line,) = logged(log.getvalue())
    assert line["letter"] == "L"
    assert "geheim" not in log.getvalue()


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_LOG_FORMAT"):
        is_wanted(Settings(log_format="xml"))


def test_a_worker_writes_its_own_lines_and_celerys_alike(new_house: NewHouse) -> None:
    # Python itself prints what Celery has to say of root, before there is a log.
    here = new_house(POSTROOM_LOG_FORMAT="json", PYTHONWARNINGS="ignore::UserWarning")
    here.answers[ANNA] = refused
    worker = here.worker("worker", "--concurrency=1")
    receipt = here.postroom.send_letter(ANNA, "geheim: the text", subject="geheim: the subject")
    here.wait_for(receipt, LetterState.FAILED)
    wait_until(lambda: "raised expected" in worker.log.read_text(), "Celery has logged the task's end")
    lines = logged(worker.log.read_text())
    assert {"celery.worker.strategy", "celery.app.trace", "postroom"} <= {line["logger"] for line in lines}
    assert {line["task"] for line in lines if line.get("task_id") == receipt.id} == {"postroom.deliver"}
    (attempt,) = [line for line in lines if line.get("letter") == receipt.id]
    assert attempt["reply"] == "550 5.1.1 No such mailbox here"
    assert "geheim" not in worker.log.read_text()
