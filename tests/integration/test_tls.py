"""TLS with relays: no certificate, no delivery; and nothing is said in the clear that TLS was asked for."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from house import Desk, desk
from postroom import LetterState, Settings
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Script,
    ScriptedRelay,
    Session,
    both,
    close,
    octets,
    say,
    scripted_relay,
)
from postroom_worker.relay import Relay
from postroom_worker.smtp import session as opened
from postroom_worker.smtp.session import Manner
from postroom_worker.smtp.wire import SessionFailed

SCHEMES = ["smtps", "smtp+starttls"]
Issue = Callable[[trustme.CA], trustme.LeafCert]


@contextmanager
def talking(
    scheme: str,
    redis_url: str,
    issue: Issue = lambda authority: authority.issue_cert("127.0.0.1", "localhost"),
    *,
    script: Script | None = None,
    host: str = "127.0.0.1",
    is_trusted: bool = True,
) -> Iterator[tuple[Desk, ScriptedRelay]]:
    """Set up a relay with a certificate, and a desk that works with it."""
    authority = trustme.CA()
    offers = [*OFFERS, "STARTTLS"] if scheme == "smtp+starttls" else OFFERS
    with (
        authority.cert_pem.tempfile() as ca_file,
        scripted_relay(script or {}, offers=offers, credentials=("us", "secret")) as relay,
    ):
        issue(authority).configure_cert(relay.use_tls(implicit=scheme == "smtps"))
        trust = {"POSTROOM_CA_FILE": ca_file} if is_trusted else {}
        with desk(redis_url, f"{scheme}://us:secret@{host}:{relay.port}", **trust) as here:
            yield here, relay


def assert_nothing_was_said(here: Desk, relay: ScriptedRelay) -> None:
    """A letter waits, at no cost; the relay is paused, and learned nothing of us but our name."""
    status = here.deliver(here.accept("ann@example.com"))
    assert status.state is LetterState.DEFERRED
    assert status.attempts == 0
    assert here.standing().state != "closed"
    assert relay.taken == []
    assert set(relay.verbs) <= {"EHLO", "STARTTLS", "QUIT"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_letter_goes_out_encrypted(scheme: str, host: str, redis_url: str) -> None:
    with talking(scheme, redis_url, script={"ehlo": auth_only_encrypted}, host=host) as (here, relay):
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        assert relay.sessions[0].is_encrypted
        assert relay.accepted == {"ann@example.com": 1}


def auth_only_encrypted(session: Session) -> None:
    """Offer AUTH behind TLS only."""
    say("250-relay\r\n250 AUTH PLAIN" if session.is_encrypted else "250-relay\r\n250 STARTTLS")(session)


CERTIFICATES: dict[str, Issue] = {
    "of another host": lambda authority: authority.issue_cert("other.example.org"),
    "of another address": lambda authority: authority.issue_cert("127.0.0.2"),
    "of nobody we know": lambda _: trustme.CA().issue_cert("127.0.0.1"),
    "that has expired": lambda authority: authority.issue_cert(
        "127.0.0.1",
        not_before=datetime.now(UTC) - timedelta(days=20),
        not_after=datetime.now(UTC) - timedelta(days=10),
    ),
    "that is not valid yet": lambda authority: authority.issue_cert(
        "127.0.0.1", not_before=datetime.now(UTC) + timedelta(days=10), not_after=datetime.now(UTC) + timedelta(days=20)
    ),
}


@pytest.mark.parametrize("issue", [pytest.param(issue, id=name) for name, issue in CERTIFICATES.items()])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wrong_certificate_is_no_delivery(
    scheme: str, issue: Issue, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with talking(scheme, redis_url, issue) as (here, relay):
        assert_nothing_was_said(here, relay)
    [record] = [each for each in caplog.records if "left alone" in each.message]
    assert record.levelname == "ERROR"
    assert "certificate" in record.message


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_a_setting_only_the_systems_authorities_are_trusted(scheme: str, redis_url: str) -> None:
    with talking(scheme, redis_url, is_trusted=False) as (here, relay):
        assert_nothing_was_said(here, relay)


def test_a_relay_that_does_not_offer_starttls_gets_nothing(redis_url: str) -> None:
    with talking("smtp+starttls", redis_url) as (here, relay):
        relay.offers = [*OFFERS, "AUTH PLAIN"]
        assert_nothing_was_said(here, relay)
        assert "STARTTLS" not in relay.verbs


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "501 5.5.4 no", "250 ok"])
def test_a_relay_that_refuses_starttls_gets_nothing(answer: str, redis_url: str) -> None:
    with talking("smtp+starttls", redis_url, script={"starttls": say(answer)}) as (here, relay):
        assert_nothing_was_said(here, relay)


def test_what_is_slipped_in_behind_starttls_is_not_believed(redis_url: str) -> None:
    injected = b"220 go ahead\r\n250-relay\r\n250 AUTH PLAIN\r\n"
    with talking("smtp+starttls", redis_url, script={"starttls": octets(injected)}) as (here, relay):
        assert_nothing_was_said(here, relay)


def test_what_was_offered_in_the_clear_is_forgotten_behind_tls(redis_url: str) -> None:
    clear = say("250-relay\r\n250-STARTTLS\r\n250-SIZE 1\r\n250 AUTH PLAIN")
    behind = say("250-relay\r\n250 AUTH LOGIN")
    with talking("smtp+starttls", redis_url, script={"ehlo": [clear, behind]}) as (here, relay):
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        assert "AUTH LOGIN" in relay.commands
        assert "MAIL FROM:<bob@example.org>" in relay.commands


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_relay_that_speaks_only_old_tls_gets_nothing(scheme: str, redis_url: str) -> None:
    with talking(scheme, redis_url) as (here, relay):
        assert relay.tls
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            relay.tls.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            relay.tls.minimum_version = ssl.TLSVersion.TLSv1
        assert_nothing_was_said(here, relay)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_relay_that_speaks_no_tls_at_all_gets_nothing(scheme: str, redis_url: str) -> None:
    with talking(scheme, redis_url, script={"starttls": both(say("220 go ahead"), say("hello?"))}) as (here, relay):
        relay.is_tls_implicit = False
        assert_nothing_was_said(here, relay)


def test_a_relay_that_asks_for_our_certificate_is_shown_it(redis_url: str) -> None:
    ours = trustme.CA()
    mine = ours.issue_cert("worker.example.org")
    with talking("smtps", redis_url, script={"ehlo": auth_only_encrypted}) as (here, relay):
        assert relay.tls
        ours.configure_trust(relay.tls)
        relay.tls.verify_mode = ssl.CERT_REQUIRED
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.DEFERRED
        here.ledger.relays.trust("default")
        trust = here.office.settings.ca_file
        with (
            mine.private_key_and_cert_chain_pem.tempfile() as certificate,
            desk(
                redis_url,
                here.office.settings.relay_url,
                POSTROOM_CA_FILE=trust,
                POSTROOM_CERTIFICATE=certificate,
            ) as with_certificate,
        ):
            receipt = with_certificate.accept("ann@example.com")
            assert with_certificate.deliver(receipt).state is LetterState.SENT


@pytest.mark.parametrize("name", ["POSTROOM_CA_FILE", "POSTROOM_CERTIFICATE"])
def test_a_file_that_cannot_be_read_is_our_fault_and_no_letters(
    name: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted_relay() as relay, desk(redis_url, f"smtps://127.0.0.1:{relay.port}", **{name: "/nowhere"}) as here:
        status = here.deliver(here.accept("ann@example.com"))
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
        assert relay.sessions == []
    [record] = [each for each in caplog.records if "left alone" in each.message]
    assert record.levelname == "ERROR"
    assert name in record.message


def test_a_file_of_authorities_that_was_replaced_is_seen_by_the_next_session(redis_url: str) -> None:
    with talking("smtps", redis_url, script={"ehlo": auth_only_encrypted}) as (here, relay):
        assert relay.tls
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        here.office.pool.close()
        successor = trustme.CA()
        successor.issue_cert("127.0.0.1").configure_cert(relay.tls)
        Path(here.office.settings.ca_file).write_bytes(successor.cert_pem.bytes())
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT


def test_a_kept_session_serves_the_next_letter_encrypted(redis_url: str) -> None:
    with talking("smtps", redis_url, script={"ehlo": auth_only_encrypted}) as (here, relay):
        for _ in range(3):
            assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        assert len(relay.sessions) == 1


def test_on_loopback_and_on_demand_alone_letters_go_in_the_clear(redis_url: str) -> None:
    with scripted_relay() as relay:
        for scheme in ("smtp", "smtp+plain"):
            with desk(redis_url, f"{scheme}://127.0.0.1:{relay.port}") as here:
                assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
    assert not any(session.is_encrypted for session in relay.sessions)


def test_a_relay_may_have_authorities_certificate_and_name_of_its_own() -> None:
    authority, ours = trustme.CA(), trustme.CA()
    with (
        scripted_relay() as relay,
        authority.cert_pem.tempfile() as ca_file,
        ours.issue_cert("worker.example.org").private_key_and_cert_chain_pem.tempfile() as certificate,
    ):
        tls = relay.use_tls(implicit=True)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        ours.configure_trust(tls)
        tls.verify_mode = ssl.CERT_REQUIRED
        plain = Relay.from_url(f"smtps://127.0.0.1:{relay.port}")
        own = replace(plain, ca_file=ca_file, certificate=certificate, ehlo_name="news.example.org")
        manner = Manner.of(Settings(ehlo_name="mail.example.org", ca_file="/nowhere", certificate="/nowhere"))
        opened.Session(own, manner).quit()
        assert relay.commands[0].lower() == "ehlo news.example.org"
        with pytest.raises(SessionFailed, match="POSTROOM_CA_FILE"):
            opened.Session(plain, manner)


@pytest.mark.parametrize(("host", "becomes"), [("localhost", LetterState.SENT), ("127.0.0.1", LetterState.DEFERRED)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_failover_the_certificate_has_to_be_the_second_relays(
    scheme: str, host: str, becomes: LetterState, redis_url: str, tmp_path: Path
) -> None:
    """The first relay's host has the address 127.0.0.1, the second's the name localhost: each goes by its own."""
    authority = trustme.CA()
    offers = [*OFFERS, "STARTTLS"] if scheme == "smtp+starttls" else OFFERS
    down: Script = {"connect": both(say("421 4.3.2 busy"), close)}
    with (
        authority.cert_pem.tempfile() as ca_file,
        scripted_relay(down) as first,
        scripted_relay(offers=offers) as second,
    ):
        authority.issue_cert(host).configure_cert(second.use_tls(implicit=scheme == "smtps"))
        (tmp_path / "relays.toml").write_text(
            f'[relays.first]\nurl = "smtp://127.0.0.1:{first.port}"\n'
            f'[relays.second]\nurl = "{scheme}://localhost:{second.port}"\n'
        )
        settings = {"POSTROOM_CA_FILE": ca_file, "POSTROOM_RELAYS": str(tmp_path / "relays.toml")}
        with desk(redis_url, "smtp://127.0.0.1:1", **settings) as here:
            assert here.deliver(here.accept("ann@example.com")).state is becomes
        assert len(second.taken) == (becomes is LetterState.SENT)
        assert len(first.sessions) == len(second.sessions) == 1


def test_a_certificate_that_is_replaced_by_a_wrong_one_ends_no_session_but_begins_none(redis_url: str) -> None:
    with talking("smtps", redis_url, script={"ehlo": auth_only_encrypted}) as (here, relay):
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        CERTIFICATES["of nobody we know"](trustme.CA()).configure_cert(relay.use_tls(implicit=True))
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.SENT
        here.office.pool.close()
        assert here.deliver(here.accept("ann@example.com")).state is LetterState.DEFERRED
        assert len(relay.taken) == 2
        assert here.ledger.redis.hget(here.ledger.keys.relay_breaker("default"), "alert") == b"1"
