"""Sessions with relays that misbehave: what cannot be read is no answer, and no relay keeps us for ever."""

from __future__ import annotations

from collections import Counter

import pytest

from house import Desk, but_for_rset, desk, timeouts
from postroom import InvalidSettings, LetterState, RecipientState
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Reaction,
    ScriptedRelay,
    both,
    close,
    drip,
    endless,
    octets,
    say,
    scripted_relay,
    silent,
)
from postroom_worker.dev.server import wait_until
from postroom_worker.outcome import Phase

MALFORMED = {
    "no code": b"ok\r\n",
    "one digit": b"2\r\n",
    "two digits": b"25\r\n",
    "four digits": b"2500 ok\r\n",
    "code below": b"199 ok\r\n",
    "code beyond": b"600 ok\r\n",
    "zeros": b"000 ok\r\n",
    "nines": b"999 ok\r\n",
    "a sign": b"+250 ok\r\n",
    "wide digits": "２５０ ok\r\n".encode(),
    "a tab": b"250\tok\r\n",
    "no blank": b"250ok\r\n",
    "a blank before": b" 250 ok\r\n",
    "an empty line": b"\r\n",
    "two codes": b"250-ok\r\n550 no\r\n",
    "a continuation without a code": b"250-ok\r\nand more\r\n250 ok\r\n",
    "NUL": b"\x00\x00\x00\r\n",
    "a line without end": b"250 " + b"x" * 70_000,
    "lines without end": b"250-x\r\n" * 20_000,
}
ODD_BUT_GOOD = {
    "code alone": b"250\r\n",
    "no text": b"250 \r\n",
    "LF alone": b"250 ok\n",
    "many lines": b"250-2.0.0 one\r\n250-2.0.0 two\r\n250 2.0.0 three\r\n",
    "Latin-1": b"250 gr\xfc\xdfe\r\n",
    "controls": b"250 \x1b[2J\x07\r\n",
}


def delivered(here: Desk, to: str = "ann@example.com") -> LetterState:
    """Deliver a letter, and return what it came to."""
    return here.deliver(here.accept(to)).state


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in MALFORMED.items()])
@pytest.mark.parametrize("step", ["mail", "content"])
def test_a_reply_that_cannot_be_read_is_no_answer(step: str, raw: bytes, redis_url: str) -> None:
    with scripted_relay({step: both(octets(raw), close)}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept("ann@example.com"))
    assert status.state is LetterState.DEFERRED
    reply = status.recipients["ann@example.com"].reply
    assert "malformed" in reply
    assert reply.isprintable()
    assert reply.startswith("uncertain") == (step == "content")


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in ODD_BUT_GOOD.items()])
def test_a_reply_that_is_odd_but_good_is_taken(raw: bytes, redis_url: str) -> None:
    script = dict.fromkeys(["mail", "rcpt", "content"], octets(raw))
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept("ann@example.com"))
        assert relay.accepted == {"ann@example.com": 1}
    assert status.state is LetterState.SENT
    assert status.recipients["ann@example.com"].reply.isprintable()


def test_replies_that_come_octet_by_octet_are_read_as_whole_ones(redis_url: str) -> None:
    script = {"rcpt": [say("250-2.1.5 one\r\n250 2.1.5 two"), say("550 5.1.1 nobody")]}
    with scripted_relay(script, splits=True) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(["ann@example.com", "ben@example.com"]))
        assert relay.accepted == {"ann@example.com": 1}
    assert status.recipients["ann@example.com"].reply == "250 2.0.0 taken"
    assert status.recipients["ben@example.com"].reply == "550 5.1.1 nobody"


@pytest.mark.parametrize("raw", [b"450-wait\r\n", b"x" * 1000], ids=["lines", "one line"])
@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "content"])
def test_a_reply_without_end_is_cut_off(step: str, raw: bytes, redis_url: str) -> None:
    with scripted_relay({step: endless(raw)}) as relay, desk(redis_url, relay.url) as here:
        assert delivered(here) is LetterState.DEFERRED
        assert relay.accepted == {}


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "content"])
def test_a_relay_that_says_an_octet_now_and_then_is_not_waited_for(step: str, redis_url: str) -> None:
    slow: Reaction = drip("250-" + "x" * 10_000, every_s=0.1)
    with scripted_relay({step: slow}) as relay, desk(redis_url, relay.url, **timeouts(0.5, Phase(step))) as here:
        status = here.deliver(here.accept("ann@example.com"))
    assert status.state is LetterState.DEFERRED
    assert "timeout" in status.recipients["ann@example.com"].reply


def test_a_relay_of_before_1995_is_greeted_with_helo(redis_url: str) -> None:
    with scripted_relay({"ehlo": say("500 what?")}) as relay, desk(redis_url, relay.url) as here:
        assert delivered(here) is LetterState.SENT
        assert relay.verbs[:3] == ["EHLO", "HELO", "MAIL"]
        assert relay.commands[2] == "MAIL FROM:<bob@example.org>", "no extension was offered, none is used"


def test_we_give_the_name_that_is_set(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, POSTROOM_EHLO_NAME="mail.example.net") as here:
        delivered(here)
        assert relay.commands[0].upper() == "EHLO MAIL.EXAMPLE.NET"


@pytest.mark.parametrize("name", ["a b", "a\r\nMAIL FROM:<eve@example.com>", "a\x00b", "bücher.example", "x" * 300])
def test_a_name_that_cannot_stand_in_a_command_is_refused_before_anything_is_said(name: str, redis_url: str) -> None:
    with (
        scripted_relay() as relay,
        pytest.raises(InvalidSettings, match="POSTROOM_EHLO_NAME"),
        desk(redis_url, relay.url, POSTROOM_EHLO_NAME=name),
    ):
        pass
    assert relay.sessions == []


def test_a_relay_of_before_1995_that_does_not_like_our_name_is_quoted_as_it_said(redis_url: str) -> None:
    script = {"ehlo": say("502 what?"), "helo": say("550 5.7.1 go away")}
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("ann@example.com"))
        assert here.standing().why == "550 5.7.1 go away"


# --- kept sessions ----------------------------------------------------------------------------------------------------


def test_letters_share_a_session(redis_url: str) -> None:
    with scripted_relay() as relay:
        with desk(redis_url, relay.url) as here:
            assert {delivered(here) for _ in range(5)} == {LetterState.SENT}
        assert len(relay.sessions) == 1
        assert but_for_rset(relay.verbs) == ["EHLO", *(["MAIL", "RCPT", "DATA"] * 5), "QUIT"]
        wait_until(lambda: relay.sessions[0].ended, "the session has ended")
        assert relay.sessions[0].ended == "quit"


def test_a_session_serves_no_more_letters_than_set(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, POSTROOM_SESSION_LETTERS="2") as here:
        assert {delivered(here) for _ in range(5)} == {LetterState.SENT}
        here.office.pool.close()
        assert [each.commands.count("DATA") for each in relay.sessions] == [2, 2, 1]
        wait_until(lambda: all(each.ended == "quit" for each in relay.sessions), "all have ended with QUIT")


def test_an_idle_session_is_closed(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url, POSTROOM_SESSION_IDLE_S="0") as here:
        delivered(here)
        here.office.pool.close_idle()
        wait_until(lambda: relay.sessions[0].ended == "quit", "it has ended with QUIT")


def test_relays_that_say_no_goodbye_hold_up_renewals_for_one_session_at_most(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom_worker.smtp.session._QUIT_S", 0.1)
    with scripted_relay({"quit": silent}) as relay, desk(redis_url, relay.url, POSTROOM_SESSION_IDLE_S="0") as here:
        pool, to = here.office.pool, here.office.relays[0]
        with pool.session(to), pool.session(to), pool.session(to):
            pass
        for left in (2, 1, 0, 0):
            pool.close_idle()
            assert here.standing().sessions == left


ENDINGS: dict[str, list[dict[str, Reaction | list[Reaction]]]] = {
    "closed after a letter": [{"content": both(say("250 2.0.0 taken"), close)}, {}],
    "421 after a letter": [{"content": both(say("250 2.0.0 taken"), say("421 4.4.2 idle"), close)}, {}],
    "421 to the next MAIL": [{"mail": [say("250 ok"), both(say("421 4.7.0 enough"), close)]}, {}],
    "closed at the next MAIL": [{"mail": [say("250 ok"), close]}, {}],
    "a stray reply after a letter": [{"content": say("250 2.0.0 taken\r\n550 5.1.1 leftover")}, {}],
    "a blank line after a letter": [{"content": say("250 2.0.0 taken\r\n")}, {}],
}


@pytest.mark.parametrize("scripts", [pytest.param(scripts, id=name) for name, scripts in ENDINGS.items()])
def test_the_end_of_a_kept_session_costs_the_next_letter_nothing(
    scripts: list[dict[str, Reaction | list[Reaction]]], redis_url: str
) -> None:
    with scripted_relay(*scripts) as relay, desk(redis_url, relay.url) as here:
        assert delivered(here, "first@example.com") is LetterState.SENT
        status = here.deliver(here.accept("second@example.com"))
        assert status.state is LetterState.SENT
        assert status.recipients["second@example.com"].attempts == 1
        assert here.standing().state == "closed"
        assert relay.accepted == Counter(["first@example.com", "second@example.com"])


def test_several_kept_sessions_that_have_ended_cost_the_next_letter_nothing(redis_url: str) -> None:
    ended: dict[str, Reaction] = {"mail": both(say("421 4.7.0 enough"), close)}
    with scripted_relay(ended, ended, ended, {}) as relay, desk(redis_url, relay.url) as here:
        pool, to = here.office.pool, here.office.relays[0]
        with pool.session(to) as first, pool.session(to) as second, pool.session(to) as third:
            for session in (first, second, third):
                session.letters = 1  # each served one before
        status = here.deliver(here.accept("ann@example.com"))
        assert status.state is LetterState.SENT
        assert status.recipients["ann@example.com"].attempts == 1
        assert here.standing().state == "closed"


STRAY = "250 2.0.0 ok\r\n550 5.1.1 leftover"


@pytest.mark.parametrize("answer", ["250 2.0.0 ok", "421 4.4.2 idle", "500 what?", STRAY])
def test_a_session_that_was_idle_is_asked_whether_it_is_alive(answer: str, redis_url: str) -> None:
    with scripted_relay({"rset": say(answer)}, {}) as relay, desk(redis_url, relay.url) as here:
        delivered(here)
        [session] = here.office.pool._idle
        session.used_s -= 30
        assert delivered(here) is LetterState.SENT
        assert "RSET" in relay.sessions[0].commands
        assert len(relay.sessions) == (1 if answer == "250 2.0.0 ok" else 2)


def test_a_relay_that_ends_every_session_at_once_is_paused(redis_url: str) -> None:
    with scripted_relay({"mail": both(say("421 4.3.2 bye"), close)}) as relay, desk(redis_url, relay.url) as here:
        assert delivered(here) is LetterState.DEFERRED
        assert here.standing().state != "closed"
        assert len(relay.sessions) == 1


def test_a_relay_is_not_hammered_whatever_it_answers(redis_url: str) -> None:
    """What one letter may cost a relay that refuses: a bound, so that no answer makes a loop without a wait."""
    for reply in ("421 4.3.2 x", "452 4.5.3 x", "503 x", "552 5.5.3 x"):
        for step in ("connect", "ehlo", "mail", "rcpt", "data", "content"):
            with scripted_relay({step: say(reply)}) as relay, desk(redis_url, relay.url) as here:
                here.ledger.relays.trust("default")
                delivered(here)
                here.office.pool.close()
                bound(relay)


def bound(relay: ScriptedRelay) -> None:
    assert len(relay.sessions) == 1
    assert len(relay.commands) <= 8, relay.commands


def test_what_is_offered_holds_for_one_session_only(redis_url: str) -> None:
    with scripted_relay({"mail": [say("250 ok"), close]}, {}) as relay, desk(redis_url, relay.url) as here:
        delivered(here)
        relay.offers = [each for each in OFFERS if not each.startswith("SIZE")]
        delivered(here)
        assert "SIZE=" in relay.sessions[0].commands[1]
        assert "SIZE=" not in relay.sessions[1].commands[1]


def test_refused_and_deferred_recipients_keep_the_relays_own_words(redis_url: str) -> None:
    script = {"rcpt": [say("451-4.2.1 try\r\n451 4.2.1 later"), say("550 5.1.1 \x1b]0;evil\x07 no such mailbox")]}
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(["ann@example.com", "ben@example.com"]))
    ann, ben = status.recipients.values()
    assert (ann.state, ann.reply) == (RecipientState.DEFERRED, "451 4.2.1 try later")
    assert (ben.state, ben.reply) == (RecipientState.REFUSED, "550 5.1.1 \\x1b]0;evil\\x07 no such mailbox")
