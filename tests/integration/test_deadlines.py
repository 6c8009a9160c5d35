"""Bounds of time: however little a relay, or the resolver, does at a time, no phase lasts longer than is set."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest

from house import GROWING_S, desk, timeouts
from postroom import LetterState, Settings, clock
from postroom_worker.dev.scripted_relay import drip, scripted_relay, sip
from postroom_worker.dev.server import free_port
from postroom_worker.outcome import Answer, Outcome, Phase, Silence, outcome
from postroom_worker.relay import Relay
from postroom_worker.smtp.connecting import connect
from postroom_worker.smtp.session import Manner, Session
from postroom_worker.smtp.wire import SessionFailed, Wire

LONGEST_S = 15.0
"""What a bound of half a second may come to on a busy machine: far from what a test without one would take."""


@contextmanager
def bounded() -> Iterator[None]:
    """Whatever is inside must have an end."""
    began_s = clock.steady_s()
    yield
    assert clock.steady_s() - began_s < LONGEST_S


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that neither accepts nor refuses: nobody takes the connections that wait there already."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let the resolver find these addresses for any name."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: found)


def refusal(url: str, **settings: str) -> Answer:
    """What is met by a session that cannot begin."""
    manner = Manner.of(Settings.from_environment(settings))
    with pytest.raises(SessionFailed) as failed, bounded():
        Session(Relay.from_url(url), manner)
    return failed.value.answer


@pytest.mark.parametrize("size", [10, 100_000], ids=["in many writes", "in one write"])
def test_octets_that_are_taken_a_few_at_a_time_are_not_written_for_ever(size: int) -> None:
    stopping = Event()

    def sip_slowly() -> None:
        while not stopping.wait(0.05):
            theirs.recv(2048)

    def pour(wire: Wire) -> None:
        for _ in range(1_000_000 // size):
            wire.write(b"x" * size, Phase.BODY, 0.5)

    with pair() as (ours, theirs):
        reader = Thread(target=sip_slowly)
        reader.start()
        try:
            with pytest.raises(SessionFailed) as failed, bounded():
                pour(Wire(ours))
        finally:
            stopping.set()
            reader.join()
    assert failed.value.answer.met is Silence.TIMEOUT
    assert "octets in 0.5 s" in failed.value.answer.detail


def test_a_large_content_has_its_time_for_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is slow, but not too slow, may take many times the bound for the whole."""
    seconds = count()
    monkeypatch.setattr(clock, "steady_s", lambda: float(next(seconds)))  # each look at the clock is a second later

    def drink() -> None:
        while theirs.recv(65536):
            pass

    with pair() as (ours, theirs):
        reader = Thread(target=drink)
        reader.start()
        try:
            wire = Wire(ours)
            while next(seconds) < 5000:
                wire.write(b"x" * 4096, Phase.BODY, 1000)
        finally:
            ours.shutdown(socket.SHUT_WR)
            reader.join()


def test_a_content_that_is_taken_an_octet_at_a_time_is_given_up_before_its_end(redis_url: str) -> None:
    with (
        scripted_relay({"body": sip(0.05)}) as relay,
        desk(redis_url, relay.url, **timeouts(0.5, Phase.BODY), POSTROOM_LETTER_MAX="20000000") as here,
    ):
        receipt = here.accept("ann@example.com", ("x" * 70 + "\n") * 100_000)
        with bounded():
            status = here.deliver(receipt)
        assert relay.accepted == {}
    assert status.state is LetterState.DEFERRED
    assert status.recipients["ann@example.com"].reply.startswith("timeout at body")


def test_a_handshake_that_comes_an_octet_at_a_time_is_given_up() -> None:
    with scripted_relay({"connect": drip("\x16\x03\x03\x30\x00" + "x" * 1000, every_s=0.05)}) as relay:
        found = refusal(f"smtps://127.0.0.1:{relay.port}", **timeouts(0.5, Phase.STARTTLS))
    assert (found.phase, found.met) == (Phase.STARTTLS, Silence.TIMEOUT)


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answering = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: answering.wait())
    found = refusal("smtps://mail.example.org", POSTROOM_CONNECT_TIMEOUT_S="0.2")
    answering.set()
    assert (found.phase, found.met) == (Phase.CONNECT, Silence.NO_CONNECTION)
    assert found.detail == "mail.example.org:465: no end after 0.2 s"


@pytest.mark.parametrize(
    ("error", "met", "alert"),
    [(socket.EAI_NONAME, Silence.NO_HOST, True), (socket.EAI_AGAIN, Silence.NO_CONNECTION, False)],
    ids=["no such name", "try again"],
)
def test_a_name_that_does_not_resolve_pauses_the_relay_and_is_an_alert_if_there_is_no_such(
    error: int, met: Silence, alert: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_keywords: Any) -> None:
        raise socket.gaierror(error, "told so")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    found = refusal("smtps://nowhere.example")
    assert (found.phase, found.met) == (Phase.CONNECT, met)
    assert "told so" in found.detail
    assert (outcome(found).outcome, outcome(found).alert) == (Outcome.PAUSE_RELAY, alert)


@pytest.mark.parametrize("dead", ["black hole", "refusing"])
def test_the_second_address_is_reached_when_the_first_is_dead(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, black_hole() as hole:
        first = hole if dead == "black hole" else ("127.0.0.1", free_port())
        resolving(monkeypatch, first, listener.getsockname())
        for timeout_s in GROWING_S:
            with suppress(TimeoutError), connect("mail.example.org", 25, timeout_s) as sock:
                assert sock.getpeername() == listener.getsockname()
                return
        pytest.fail("it is not reached")


def test_all_addresses_together_have_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as hole:
        resolving(monkeypatch, *[hole] * 100)
        with pytest.raises(TimeoutError), bounded():
            connect("mail.example.org", 25, 0.5)


def test_a_name_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    with pytest.raises(OSError, match="it has no address"):
        connect("mail.example.org", 25, 0.5)


def test_a_reply_that_comes_octet_by_octet_within_its_time_is_a_reply(redis_url: str) -> None:
    script = {"rcpt": drip("250 2.1.5 ok\r\n", every_s=0.005)}
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept(["ann@example.com", "ben@example.com"])
        assert here.deliver(receipt).state is LetterState.SENT
        assert relay.accepted == {"ann@example.com": 1, "ben@example.com": 1}
