"""Relays that fall silent, as behind a line that swallows everything, and ones that hang up just after their answer."""

from __future__ import annotations

import socket
from threading import Event
from typing import Any

import pytest

from house import desk, timeouts
from postroom import LetterState, clock
from postroom_worker.dev.scripted_relay import OFFERS, Script, both, deaf, reset, say, scripted_relay, silent, wait_for
from postroom_worker.dev.server import wait_until
from postroom_worker.outcome import Phase

ANN, BEN = "ann@example.com", "ben@example.com"
WAIT_S = 0.3
LONGEST_S = 60.0
"""What such a wait may come to on a busy machine: in other phases a relay has its minutes."""


@pytest.mark.parametrize(
    ("step", "phase", "chunking", "attempts"),
    [
        ("connect", Phase.CONNECT, False, 0),
        ("ehlo", Phase.EHLO, False, 0),
        ("mail", Phase.MAIL, False, 1),
        ("rcpt", Phase.RCPT, False, 1),
        ("data", Phase.DATA, False, 1),
        ("bdat", Phase.DATA, True, 1),
        ("content", Phase.CONTENT, False, 1),
        ("content", Phase.CONTENT, True, 1),
    ],
)
def test_a_relay_that_falls_silent_is_waited_for_and_no_longer(
    step: str, phase: Phase, chunking: bool, attempts: int, redis_url: str
) -> None:
    offers = [*OFFERS, "CHUNKING"] if chunking else OFFERS
    with (
        scripted_relay({step: silent}, offers=offers) as relay,
        desk(redis_url, relay.url, **timeouts(WAIT_S, phase)) as here,
    ):
        receipt = here.accept([ANN, BEN], on_uncertain="hold")
        began_s = clock.steady_s()
        status = here.deliver(receipt)
        assert clock.steady_s() - began_s < LONGEST_S
        assert status.state is (LetterState.HELD if step == "content" else LetterState.DEFERRED)
        assert status.attempts == attempts
        assert relay.taken == []


def test_a_relay_that_stops_reading_in_the_content_has_not_taken_it(redis_url: str) -> None:
    with (
        scripted_relay({"body": deaf}) as relay,
        desk(redis_url, relay.url, **timeouts(WAIT_S, Phase.BODY), POSTROOM_LETTER_MAX="20000000") as here,
    ):
        status = here.deliver(here.accept(ANN, ("x" * 70 + "\n") * 100_000, on_uncertain="hold"))
        assert status.state is LetterState.DEFERRED
        assert status.recipients[ANN].reply.startswith("timeout at body")


def test_an_answer_that_comes_after_our_wait_is_nobodys(redis_url: str) -> None:
    """The session is never used again: what comes in it late cannot pass for an answer to the next letter."""
    go_on = Event()
    script: Script = {"content": both(wait_for(go_on), say("250 2.0.0 taken"))}
    with scripted_relay(script, {}) as relay, desk(redis_url, relay.url, **timeouts(WAIT_S, Phase.CONTENT)) as here:
        late = here.deliver(here.accept(ANN))
        assert late.state is LetterState.DEFERRED
        assert late.recipients[ANN].reply.startswith("uncertain")
        go_on.set()
        wait_until(lambda: here.deliver(here.accept(BEN)).state is LetterState.SENT, "the next one is sent")
        assert relay.sessions[0].commands[-1] == "DATA"
        assert relay.sessions[1].commands[0].upper().startswith("EHLO")


def test_an_answer_that_is_cut_off_by_a_reset_is_read_or_uncertain_and_never_a_refusal(redis_url: str) -> None:
    """The kernel may drop what came and was not read yet."""
    with scripted_relay({"content": both(say("250 2.0.0 taken"), reset)}) as relay, desk(redis_url, relay.url) as here:
        for _ in range(5):
            status = here.deliver(here.accept(ANN, on_uncertain="hold"))
            assert status.state in (LetterState.SENT, LetterState.HELD)
            assert here.standing().state == "closed"
        assert relay.accepted == {ANN: 5}


def test_a_relay_whose_address_changes_is_found_by_the_next_session(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_relay() as old, scripted_relay() as new:
        places = [old.port, new.port]
        resolve = socket.getaddrinfo

        def moved(host: str, port: int, *args: Any, **keywords: Any) -> Any:
            is_theirs = host == "mail.example.org"
            return resolve(*(("127.0.0.1", places.pop(0)) if is_theirs else (host, port)), *args, **keywords)

        monkeypatch.setattr(socket, "getaddrinfo", moved)
        with desk(redis_url, "smtp+plain://mail.example.org:25") as here:
            for _ in range(2):
                assert here.deliver(here.accept(ANN)).state is LetterState.SENT
            assert (len(old.taken), len(new.taken)) == (2, 0), "a kept session goes on"
            here.office.pool.close()
            assert here.deliver(here.accept(ANN)).state is LetterState.SENT
            assert (len(old.taken), len(new.taken)) == (2, 1)
