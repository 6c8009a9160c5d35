"""AUTH: we say who we are in every way that is offered, in UTF-8; and the password is told to nobody else."""

from __future__ import annotations

import base64
import logging
from threading import Event
from urllib.parse import quote

import pytest

from cluster import all_keys
from house import GROWING_S, desk
from postroom import LetterState, Settings
from postroom.ledger import views
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Reaction,
    ScriptedRelay,
    Session,
    both,
    close,
    octets,
    say,
    scripted_relay,
)
from postroom_worker.outcome import Answer, Outcome, Phase, Silence, outcome
from postroom_worker.relay import Relay
from postroom_worker.smtp import auth
from postroom_worker.smtp.session import Manner
from postroom_worker.smtp.session import Session as Opened
from postroom_worker.smtp.wire import SessionFailed

USER, PASSWORD = "bøb@example.org", "pässwörd €:/@%&"
CREDENTIALS = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


def url(port: int) -> str:
    """A relay on the loopback interface, which gets our credentials."""
    return f"smtp://{CREDENTIALS}@127.0.0.1:{port}"


@pytest.mark.parametrize("offered", ["PLAIN", "LOGIN", "CRAM-MD5", "plain", "GSSAPI XOAUTH2 LOGIN"])
def test_a_session_begins_with_each_mechanism(offered: str, redis_url: str) -> None:
    with (
        scripted_relay(offers=[*OFFERS, f"AUTH {offered}"], credentials=(USER, PASSWORD)) as relay,
        desk(redis_url, url(relay.port)) as here,
    ):
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        assert relay.accepted == {"ann@example.com": 1}


def test_in_the_clear_the_mechanism_that_hides_the_password_comes_first(redis_url: str) -> None:
    with (
        scripted_relay(offers=["AUTH PLAIN LOGIN CRAM-MD5"], credentials=(USER, PASSWORD)) as relay,
        desk(redis_url, url(relay.port)) as here,
    ):
        here.deliver(here.accept("ann@example.com"))
        assert relay.commands[1] == "AUTH CRAM-MD5"


def test_an_old_spelling_of_the_offer_is_understood(redis_url: str) -> None:
    with (
        scripted_relay(offers=["AUTH=LOGIN"], credentials=(USER, PASSWORD)) as relay,
        desk(redis_url, url(relay.port)) as here,
    ):
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT


@pytest.mark.parametrize("offer", [[], ["AUTH GSSAPI"]])
def test_without_a_mechanism_of_ours_nothing_is_sent(offer: list[str], redis_url: str) -> None:
    with scripted_relay(offers=offer) as relay, desk(redis_url, url(relay.port)) as here:
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.DEFERRED
        assert set(relay.verbs) <= {"EHLO", "QUIT"}


def test_wrong_credentials_pause_the_relay_and_alert(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        scripted_relay(offers=["AUTH PLAIN"], credentials=(USER, "another")) as relay,
        desk(redis_url, url(relay.port), POSTROOM_PAUSE_FIRST_S="60", POSTROOM_PAUSE_MAX_S="60") as here,
    ):
        first, second = here.accept("ann@example.com"), here.accept("ben@example.com")
        for receipt in (first, second):
            status = here.deliver(receipt)
            assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert relay.verbs.count("AUTH") == 1, "the second letter does not lock the account"
    assert [record.levelno for record in caplog.records if "left alone" in record.message] == [logging.ERROR]


def test_challenges_without_end_are_not_answered_without_end(redis_url: str) -> None:
    with (
        scripted_relay({"auth": ask_for_ever}, offers=["AUTH LOGIN"]) as relay,
        desk(redis_url, url(relay.port)) as here,
    ):
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.DEFERRED
        assert relay.taken == []


def ask_for_ever(session: Session) -> None:
    """One challenge after the other."""
    while True:
        say("334 bW9yZQ==")(session)
        session.commands.append(session.read_line())


@pytest.mark.parametrize("challenge", ["", "%%%", "ÿ", "A" * 3000])
def test_a_challenge_that_cannot_be_read_is_answered_all_the_same(challenge: str, redis_url: str) -> None:
    def login(session: Session) -> None:
        for expected in (USER, PASSWORD):
            say(f"334 {challenge}")(session)
            assert base64.b64decode(session.read_line()).decode() == expected
        say("235 2.7.0 welcome")(session)

    with scripted_relay({"auth": login}, offers=["AUTH LOGIN"]) as relay, desk(redis_url, url(relay.port)) as here:
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT


def echo(session: Session) -> None:
    """Repeat what was said, as some relays do in their errors."""
    said = session.commands[-1]
    say(f"535 5.7.8 cannot take {said} ({said.split()[-1]})")(session)


def echo_answers(session: Session) -> None:
    """Repeat the answers to the challenges."""
    say("334 VXNlcm5hbWU6")(session)
    user = session.read_line()
    say("334 UGFzc3dvcmQ6")(session)
    password = session.read_line()
    say(f"535 5.7.8 {user} with {password}: {base64.b64decode(password).decode()}")(session)


def echo_raw(session: Session) -> None:
    """Repeat what was said, as no reply at all."""
    octets(session.commands[-1].encode() + b"\r\n")(session)


FAULTS: dict[str, tuple[str, Reaction]] = {
    "refused": ("PLAIN", say("535 5.7.8 no")),
    "echo": ("PLAIN", echo),
    "echo of the answers": ("LOGIN", echo_answers),
    "echo that is no reply": ("PLAIN", echo_raw),
    "garbage": ("PLAIN", say("what?")),
    "closed": ("PLAIN", close),
    "closed with a reply": ("LOGIN", both(say("421 4.7.0 bye"), close)),
    "a later failure": ("PLAIN", say("454 4.7.0 later")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nobody_is_told_the_password(fault: str, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mechanism, reaction = FAULTS[fault]
    with (
        scripted_relay({"auth": reaction}, offers=[f"AUTH {mechanism}"]) as relay,
        desk(redis_url, url(relay.port)) as here,
    ):
        receipt = here.accept("ann@example.com")
        status = here.deliver(receipt)
        assert status.state is LetterState.DEFERRED
        pause = here.standing()
        assert pause.state != "closed"
        told = [
            caplog.text,
            pause.why,
            repr(status),
            repr(views.account(here.ledger, receipt.id)),
            repr(here.office),
            repr(here.office.relays),
            str(here.office.relays),
            repr(here.office.settings),
            *(repr(here.ledger.redis.dump(key)) for key in all_keys(here.ledger.redis)),
        ]
    secrets = {
        PASSWORD,
        quote(PASSWORD, safe=""),
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode(),
    }
    assert not [secret for secret in secrets for text in told if secret in text]


# --- access tokens ----------------------------------------------------------------------------------------------------

TOKEN = "ya29.SECRET-" + "aB3~_/+" * 90 + "=="
INVALID = base64.b64encode(b'{"status": "401", "schemes": "bearer"}').decode()
given: list[str] = []


def token(user: str) -> str:
    """Give a token, another one each time."""
    given.append(user)
    return f"{len(given)}.{TOKEN}"


def no_token(_user: str) -> str:
    """Fail, with a secret in the error."""
    raise ValueError(TOKEN)


def odd_token(_user: str) -> str:
    """Give what would be no token, but further fields."""
    return f"{TOKEN}\x01\x01\r\nRSET"


def late_token(_user: str) -> str:
    """Give one when nobody waits for it any more."""
    Event().wait(60)
    return TOKEN


@pytest.fixture(autouse=True)
def nothing_given() -> None:
    given.clear()


def begin(relay: ScriptedRelay, source: str = "token", **settings: str) -> Answer | None:
    """Begin a session and end it; returns what was met if it could not begin."""
    to = Relay.from_url(f"smtp://{quote(USER, safe='')}@127.0.0.1:{relay.port}", "google", token=f"{__name__}:{source}")
    try:
        Opened(to, Manner.of(Settings.from_environment(settings))).quit()
    except SessionFailed as failed:
        return failed.answer
    return None


def said(command: str) -> bytes:
    """What an AUTH command says, decoded."""
    return base64.b64decode(command.split(" ")[2])


def test_a_token_is_shown_by_oauthbearer() -> None:
    with scripted_relay({"auth": say("235 2.7.0 welcome")}, offers=["AUTH PLAIN XOAUTH2 OAUTHBEARER"]) as relay:
        assert begin(relay) is None
        assert relay.commands[1].startswith("AUTH OAUTHBEARER ")
        assert said(relay.commands[1]) == (
            f"n,a={USER},\x01host=127.0.0.1\x01port={relay.port}\x01auth=Bearer 1.{TOKEN}\x01\x01".encode()
        )


def test_a_user_with_a_comma_is_escaped() -> None:
    respond = auth.oauthbearer(Relay.from_url("smtps://a%2Cb%3Dc@h", token="x:y"), "t")
    assert respond(b"") == b"n,a=a=2Cb=3Dc,\x01host=h\x01port=465\x01auth=Bearer t\x01\x01"


def test_a_token_is_shown_by_xoauth2() -> None:
    with scripted_relay({"auth": say("235 2.7.0 welcome")}, offers=["AUTH PLAIN XOAUTH2"]) as relay:
        assert begin(relay) is None
        assert relay.commands[1].startswith("AUTH XOAUTH2 ")
        assert said(relay.commands[1]) == f"user={USER}\x01auth=Bearer 1.{TOKEN}\x01\x01".encode()


def test_each_session_has_a_token_of_its_own() -> None:
    with scripted_relay({"auth": say("235 2.7.0 welcome")}, offers=["AUTH XOAUTH2"]) as relay:
        assert [begin(relay), begin(relay)] == [None, None]
        assert given == [USER, USER]
        assert [said(each)[-len(TOKEN) - 4 :][:2] for each in relay.commands if "AUTH" in each] == [b"1.", b"2."]


@pytest.mark.parametrize(("mechanism", "answer"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
def test_a_challenge_that_tells_of_an_error_is_answered_and_the_refusal_read(mechanism: str, answer: str) -> None:
    def refuse(session: Session) -> None:
        say(f"334 {INVALID}")(session)
        session.commands.append(session.read_line())
        say("535 5.7.8 Username and Password not accepted")(session)

    with scripted_relay({"auth": refuse}, offers=[f"AUTH {mechanism}"]) as relay:
        found = begin(relay)
        assert relay.commands[2] == answer
    assert str(found) == "535 5.7.8 Username and Password not accepted"
    assert found is not None
    assert (outcome(found).outcome, outcome(found).alert) == (Outcome.PAUSE_RELAY, True)


def test_a_token_is_no_password_for_other_mechanisms() -> None:
    with scripted_relay(offers=["AUTH PLAIN LOGIN CRAM-MD5"]) as relay:
        assert str(begin(relay)) == "not-offered at auth: offered: PLAIN LOGIN CRAM-MD5"
        assert given == []
        assert set(relay.verbs) <= {"EHLO", "QUIT"}


@pytest.mark.parametrize("source", ["no_token", "odd_token", "late_token"])
def test_without_a_token_nothing_is_said_and_the_relay_pauses(source: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_relay(offers=["AUTH XOAUTH2"]) as relay:
        for connect_s in GROWING_S:  # the bound of connecting and that of the token
            found = begin(relay, source, POSTROOM_CONNECT_TIMEOUT_S=str(connect_s))
            if found and found.phase is Phase.AUTH:
                break
        assert "AUTH" not in relay.verbs
    assert found is not None
    assert (found.phase, found.met) == (Phase.AUTH, Silence.NO_TOKEN)
    assert f"{__name__}:{source}" in found.detail
    assert (outcome(found).outcome, outcome(found).alert) == (Outcome.PAUSE_RELAY, True)
    assert "SECRET" not in f"{found!r} {caplog.text}"


@pytest.mark.parametrize("reaction", [echo, echo_raw, say(f"535 5.7.8 not 1.{TOKEN}")])
def test_nobody_is_told_the_token(reaction: Reaction, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_relay({"auth": reaction}, offers=["AUTH XOAUTH2"]) as relay:
        found = begin(relay)
        command = relay.commands[1]
    assert found is not None
    assert given == [USER]
    shown = f"{found!r} {found} {caplog.text}"
    assert "SECRET" not in shown
    assert command.split(" ")[2][:100] not in shown


def test_what_a_relay_says_of_a_mechanism_is_told() -> None:
    with scripted_relay({"auth": say("535 5.7.8 LOGIN is switched off")}, offers=["AUTH LOGIN"]) as relay:
        to = Relay.from_url(url(relay.port))
        with pytest.raises(SessionFailed) as failed:
            Opened(to, Manner.of(Settings()))
    assert str(failed.value.answer) == "535 5.7.8 LOGIN is switched off"
