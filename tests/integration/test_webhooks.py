"""Webhooks: an application learns what became of its letters, from a worker's threads, signed and at least once."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
import trustme

from house import Desk, NewHouse, desk
from postroom import LetterState, Receipt, operate
from postroom.ledger import webhooks
from postroom_worker.delivery import deliver
from postroom_worker.dev.capture import Capture, capture, greylisted, refused
from postroom_worker.dev.server import wait_until
from postroom_worker.webhook.notifier import Notifier
from postroom_worker.webhook.receiver import Receiver
from webhook_docs import DOCS, SECRET, documented


class Application:
    """Receives webhooks, and verifies each as the docs say."""

    def __init__(self) -> None:
        """Answer 204."""
        self.status = 204
        self.extra: dict[str, str] = {}
        self.got: list[tuple[str, dict[str, Any]]] = []
        """Ids and contents, in order."""
        self.url = ""

    def take(self, fields: dict[str, str], body: bytes) -> None:
        """Take one."""
        documented()(fields, body, SECRET)
        self.got.append((fields["webhook-id"], json.loads(body)))

    @property
    def told(self) -> list[tuple[str, str]]:
        """Which letter came to which state, in order."""
        return [(content["data"]["letter"], content["type"]) for _, content in self.got]


@contextmanager
def application(tls: ssl.SSLContext | None = None) -> Iterator[Application]:
    """Run one as long as this lasts; with a TLS context, over HTTPS."""
    found = Application()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/hooks?key=1"
            found.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(found.status)
            for name, value in found.extra.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("localhost", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a handshake that fails is the test's
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    found.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}/hooks?key=1"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def app() -> Iterator[Application]:
    with application() as running:
        yield running


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Capture]:
    answers = {"no@example.com": refused, "grey@example.com": greylisted(1)}
    with capture(tmp_path / "mail", answers=answers) as running:
        yield running


def settings(url: str, **others: str) -> dict[str, str]:
    return {"POSTROOM_WEBHOOK_URL": url, "POSTROOM_WEBHOOK_SECRET": SECRET, **others}


def notifier(here: Desk, member: str = "w1", place: int = 0) -> Notifier:
    found = Receiver.all_of(here.office.settings)[place]
    made = Notifier(here.office.settings, here.ledger, found, member)
    made.begin()
    return made


def make_due(here: Desk) -> None:
    """Have what waits to be posted be due now, as it would be in time."""
    for partition in range(here.ledger.keys.partitions):
        schedule = here.ledger.keys.webhooks_due(partition, 0)
        if waiting := here.ledger.redis.zrange(schedule, 0, -1):
            here.ledger.redis.zadd(schedule, dict.fromkeys(waiting, 0))


def all_posted(posting: Notifier) -> None:
    while posting.post():
        pass


def test_each_of_several_receivers_is_told_and_one_that_is_away_holds_up_no_other(
    redis_url: str, relay: Capture, app: Application
) -> None:
    with application() as away, desk(redis_url, relay.url, **settings(f"{away.url} {app.url}")) as here:
        away.status = 503
        first, second = notifier(here), notifier(here, place=1)
        receipt = here.accept("no@example.com")
        here.deliver(receipt)
        for each in (first, second):
            each.make()
            all_posted(each)
        assert app.told == [(receipt.id, "letter.failed")]
        assert [webhooks.waiting(here.ledger, place) for place in (0, 1)] == [1, 0]
        away.status = 204
        wait_until(first.post, "it is due again")
        assert webhooks.waiting(here.ledger) == 0
        assert {each for each, _ in away.got} == {each for each, _ in app.got}, "an event has one id"


def test_an_application_learns_of_a_refusal(redis_url: str, relay: Capture, app: Application) -> None:
    with desk(redis_url, relay.url, **settings(app.url)) as here:
        posting = notifier(here)
        receipt = here.accept(
            ["no@example.com", "ann@example.com"], "a secret text", subject="secret", tags=["invoice"]
        )
        here.deliver(receipt)
        posting.make()
        all_posted(posting)
        assert webhooks.waiting(here.ledger) == 0
    ((_, content),) = app.got
    assert content["type"] == "letter.partial"
    assert content["data"] == {
        "letter": receipt.id,
        "state": "partial",
        "why": "",
        "tags": ["invoice"],
        "attempts": 1,
        "recipients": [
            {"address": "no@example.com", "state": "refused", "reply": "550 5.1.1 No such mailbox here", "attempts": 1},
            {
                "address": "ann@example.com",
                "state": "accepted",
                "reply": "250 2.0.0 Captured as 0001.eml",
                "attempts": 1,
            },
        ],
        "recipients_number": 2,
    }
    assert abs(time.time() - time.mktime(time.strptime(content["timestamp"][:19], "%Y-%m-%dT%H:%M:%S"))) < 86_400


def test_every_end_of_a_letter_is_told_and_by_wish_what_is_not_an_end(
    redis_url: str, relay: Capture, app: Application
) -> None:
    states = "sent failed cancelled deferred held"
    with desk(redis_url, relay.url, **settings(app.url, POSTROOM_WEBHOOK_STATES=states)) as here:
        posting = notifier(here)
        sent, failed, grey, held, cancelled, given_up = (
            here.accept(f"{name}@example.com").id for name in ("ann", "no", "grey", "ben", "cat", "dan")
        )
        for letter_id in (sent, failed, grey):
            here.deliver(Receipt(letter_id, here.ledger))
        operate.flush(here.ledger, grey)
        here.deliver(Receipt(grey, here.ledger))
        operate.hold(here.ledger, held)
        operate.cancel(here.ledger, cancelled)
        operate.expire(here.ledger, given_up, reason="too late")
        posting.make()
        all_posted(posting)
    assert sorted(app.told) == sorted(
        [
            (sent, "letter.sent"),
            (failed, "letter.failed"),
            (grey, "letter.deferred"),
            (grey, "letter.sent"),
            (held, "letter.held"),
            (cancelled, "letter.cancelled"),
            (given_up, "letter.failed"),
        ]
    )


def test_what_the_docs_show_is_what_is_posted(redis_url: str, relay: Capture, app: Application) -> None:
    with desk(redis_url, relay.url, **settings(app.url)) as here:
        posting = notifier(here)
        here.deliver(here.accept("no@example.com", tags=["invoice"]))
        posting.make()
        all_posted(posting)
    (shown,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    example, (_, content) = json.loads(shown), app.got[0]
    for each in (example, content):
        each["timestamp"] = each["data"]["letter"] = each["data"]["recipients"][0]["address"] = ""
    assert example == content


def test_one_that_is_not_taken_comes_again_by_the_backoff_of_letters_and_under_the_same_id(
    redis_url: str, relay: Capture, app: Application
) -> None:
    app.status = 500
    waits = {"POSTROOM_RETRY_FIRST_S": "600", "POSTROOM_RETRY_MAX_S": "600"}
    with desk(redis_url, relay.url, **settings(app.url, **waits)) as here:
        posting = notifier(here)
        receipt = here.accept("no@example.com")
        here.deliver(receipt)
        posting.make()
        assert posting.post()
        assert not posting.post(), "it waits"
        app.status = 200
        make_due(here)
        assert posting.post()
        assert not posting.post()
        assert webhooks.waiting(here.ledger) == 0
    first, second = app.got
    assert first == second


def test_one_that_nobody_takes_is_given_up_in_the_end(redis_url: str, relay: Capture, app: Application) -> None:
    app.status = 503
    with desk(redis_url, relay.url, **settings(app.url, POSTROOM_GIVE_UP_S="0.01")) as here:
        posting = notifier(here)
        receipt = here.accept("ann@example.com")
        operate.cancel(here.ledger, receipt.id)
        posting.make()
        assert posting.post()
        assert webhooks.waiting(here.ledger) == 0
    assert len(app.got) == 1


def test_a_redirect_is_not_followed(redis_url: str, relay: Capture, app: Application) -> None:
    with application() as inside, desk(redis_url, relay.url, **settings(app.url)) as here:
        app.status, app.extra = 307, {"Location": inside.url}
        posting = notifier(here)
        here.deliver(here.accept("ann@example.com"))
        posting.make()
        assert posting.post()
        assert webhooks.waiting(here.ledger) == 1
        assert inside.got == []


def test_https_is_verified_by_the_certificates_that_are_set(redis_url: str, relay: Capture, tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with application(tls) as app:
        for ca_file, waiting in (("", 1), (str(tmp_path / "ca.pem"), 0)):
            with desk(redis_url, relay.url, **settings(app.url, POSTROOM_CA_FILE=ca_file)) as here:
                here.ledger.redis.flushdb()
                posting = notifier(here)
                operate.cancel(here.ledger, here.accept("ann@example.com").id)
                posting.make()
                assert posting.post()
                assert webhooks.waiting(here.ledger) == waiting
    assert len(app.got) == 1


def dripping(first: bytes, drop: bytes) -> tuple[socket.socket, Thread, Flag]:
    """A receiver that never comes to an end: it says something, then one thing again and again."""
    listening, over = socket.create_server(("127.0.0.1", 0)), Flag()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(first)
            while not over.wait(0.02):
                try:
                    connection.sendall(drop)
                except OSError:
                    over.set()

    thread = Thread(target=serve)
    thread.start()
    return listening, thread, over


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\n", b"A"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "status without an end", "header without an end", "continues for ever"],
)
def test_a_receiver_that_never_ends_is_left_in_time_and_its_connection_broken(
    first: bytes, drop: bytes, redis_url: str, relay: Capture
) -> None:
    listening, thread, over = dripping(first, drop)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    try:
        with desk(redis_url, relay.url, **settings(url, POSTROOM_WEBHOOK_TIMEOUT_S="0.3")) as here:
            posting = notifier(here)
            operate.cancel(here.ledger, here.accept("ann@example.com").id)
            posting.make()
            began = time.monotonic()
            assert posting.post()
            assert time.monotonic() - began < 9, "by default it is ten seconds"
            assert webhooks.waiting(here.ledger) == 1
        if drop:
            assert over.wait(30), "nobody listens to it any more"
    finally:
        over.set()
        listening.close()
        thread.join()


def test_what_was_taken_of_several_partitions_is_nobody_elses_until_all_may_have_been_posted(
    redis_url: str, relay: Capture, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = settings(app.url, POSTROOM_WEBHOOK_TIMEOUT_S="5", POSTROOM_PARTITIONS="4")
    with desk(redis_url, relay.url, **ours) as here:
        posting = notifier(here)
        for number in range(20):
            here.deliver(here.accept(f"a-{number}@example.com"))
        posting.make()
        left_ms: list[float] = []

        def look(_fields: dict[str, str], _body: bytes) -> None:
            if not left_ms:
                keys, now_ms = here.ledger.keys, here.ledger.now_ms()
                for partition in range(keys.partitions):
                    due: Any = here.ledger.redis.zrange(keys.webhooks_due(partition, 0), 0, -1, withscores=True)
                    left_ms.extend(due_ms - now_ms for _, due_ms in due if due_ms > now_ms)

        monkeypatch.setattr(app, "take", look)
        assert posting.post()
        assert len(left_ms) > 1
        assert min(left_ms) > 5000 * len(left_ms)


def test_an_endless_body_is_not_read(redis_url: str, relay: Capture) -> None:
    listening, thread, over = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536)
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with desk(redis_url, relay.url, **settings(url)) as here:
            posting = notifier(here)
            operate.cancel(here.ledger, here.accept("ann@example.com").id)
            posting.make()
            assert posting.post()
            assert webhooks.waiting(here.ledger) == 0, "its status was enough"
        assert over.wait(30)
    finally:
        over.set()
        listening.close()
        thread.join()


def test_what_a_worker_had_read_when_it_died_is_told_by_another(
    redis_url: str, relay: Capture, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk(redis_url, relay.url, **settings(app.url)) as here:
        dying, other = notifier(here, "dying"), notifier(here, "other")
        here.deliver(here.accept("no@example.com"))
        with monkeypatch.context() as death:
            death.setattr(webhooks, "keep", lambda *_: pytest.fail("killed here"))
            with pytest.raises(pytest.fail.Exception):
                dying.make()
        other.make()
        assert webhooks.waiting(here.ledger) == 0, "it may live yet"
        other.make(idle_ms=0)
        assert webhooks.waiting(here.ledger) == 1
        # And one that was being posted: its lease ends.
        (taken,) = webhooks.take(here.ledger, 600_000, 1)
        assert webhooks.take(here.ledger, 600_000, 1) == []
        make_due(here)
        assert other.post()
    assert [webhook_id for webhook_id, _ in app.got] == [taken.id]


def test_an_event_that_is_read_twice_is_one_webhook(redis_url: str, relay: Capture, app: Application) -> None:
    with desk(redis_url, relay.url, **settings(app.url)) as here:
        first, second = notifier(here, "first"), notifier(here, "second")
        here.deliver(here.accept("no@example.com"))
        entries = webhooks.read(here.ledger, "first", 10, 60_000)
        second.make(idle_ms=0)
        assert entries
        first.make(idle_ms=0)
        assert webhooks.waiting(here.ledger) == 1


def test_letters_that_one_event_tells_of_have_a_webhook_each(redis_url: str, relay: Capture, app: Application) -> None:
    with desk(redis_url, relay.url, **settings(app.url, POSTROOM_GIVE_UP_S="0")) as here:
        posting = notifier(here)
        ids = [here.accept("ann@example.com").id for _ in range(3)]
        deliver(here.office, ids)
        posting.make()
        bodies = {each.id: each.body for each in webhooks.take(here.ledger, 1, 10)}
    assert sorted(json.loads(each)["data"]["letter"] for each in bodies.values()) == sorted(ids)


def test_webhooks_go_on_when_redis_has_lost_everything(redis_url: str, relay: Capture, app: Application) -> None:
    with desk(redis_url, relay.url, **settings(app.url)) as here:
        posting = notifier(here)
        here.ledger.redis.flushdb()
        posting.make()
        here.deliver(here.accept("ann@example.com"))
        posting.make()
        all_posted(posting)
    assert len(app.got) == 1


def test_those_that_find_no_room_are_dropped_and_those_that_wait_are_not(
    redis_url: str, relay: Capture, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "KEPT", 2)
    with desk(redis_url, relay.url, **settings(app.url, POSTROOM_PARTITIONS="1")) as here:
        posting = notifier(here)
        ids = [here.accept("ann@example.com").id for _ in range(4)]
        for each in ids:
            operate.cancel(here.ledger, each)
        posting.make()
        all_posted(posting)
    assert app.told == [(each, "letter.cancelled") for each in ids[:2]]


def test_it_is_told_when_events_may_have_made_room_before_they_were_read(
    redis_url: str, relay: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("postroom_worker.webhook.notifier._READ_AT_ONCE", 3)
    few = settings("http://127.0.0.1:9/", POSTROOM_EVENTS_MAX="5", POSTROOM_PARTITIONS="1")
    with desk(redis_url, relay.url, **few) as here:
        posting = notifier(here)
        for more in (4, 1):
            for _ in range(more):
                here.accept("ann@example.com")
            posting.make()
            assert not caplog.records
        for _ in range(5):
            here.accept("ann@example.com")
        assert posting.make()
    (told,) = caplog.records
    assert "raise POSTROOM_EVENTS_MAX" in told.message


def test_a_worker_posts_what_became_of_letters(new_house: NewHouse, app: Application) -> None:
    here = new_house(**settings(app.url))
    here.answers["no@example.com"] = refused
    here.worker()
    early = here.postroom.send_letter("ann@example.com", "hi")
    here.wait_for(early, LetterState.SENT)
    wait_until(lambda: here.ledger.redis.xinfo_groups(here.ledger.keys.events(0)), "the worker reads events")
    receipt = here.postroom.send_letter("no@example.com", "hi")
    wait_until(lambda: (receipt.id, "letter.failed") in app.told, "the application is told")
