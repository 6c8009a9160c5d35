"""A relay's URL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom import InvalidSettings
from postroom_worker.relay import Limits, Relay, Security

TLS, STARTTLS, NONE = Security.TLS, Security.STARTTLS, Security.NONE


@pytest.mark.parametrize(
    ("url", "host", "port", "security"),
    [
        ("smtp://mail.example.org", "mail.example.org", 25, STARTTLS),
        ("smtp://mail.example.org:2525", "mail.example.org", 2525, STARTTLS),
        ("smtp+starttls://mail.example.org", "mail.example.org", 587, STARTTLS),
        ("smtps://mail.example.org", "mail.example.org", 465, TLS),
        ("smtp+plain://mail.example.org", "mail.example.org", 25, NONE),
        ("smtp://localhost:1025", "localhost", 1025, NONE),
        ("smtp://LOCALHOST", "localhost", 25, NONE),
        ("smtp://127.8.9.1", "127.8.9.1", 25, NONE),
        ("smtp://[::1]:1025", "::1", 1025, NONE),
        ("smtp+starttls://localhost", "localhost", 587, STARTTLS),
        ("smtps://[2001:db8::25]", "2001:db8::25", 465, TLS),
        ("smtp://mail_catcher:1025", "mail_catcher", 1025, STARTTLS),
        ("smtps://bücher.example", "xn--bcher-kva.example", 465, TLS),
        ("smtps://faß.de", "xn--fa-hia.de", 465, TLS),
        ("  smtps://mail.example.org/ \n", "mail.example.org", 465, TLS),
    ],
)
def test_a_url_says_where_and_how(url: str, host: str, port: int, security: Security) -> None:
    assert Relay.from_url(url) == Relay("default", host, port, security)


def test_credentials_are_percent_encoded() -> None:
    relay = Relay.from_url("smtps://b%C3%B8b%40example.org:p%40ss%2F%3A%25%20%E2%82%AC@mail.example.org")
    assert (relay.user, relay.password) == ("bøb@example.org", "p@ss/:% €")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.org",
        "mail.example.org:25",
        "http://mail.example.org",
        "SECRET://mail.example.org",
        "smtp://",
        "smtp://:25",
        "smtp://mail.example.org/SECRET",
        "smtp://mail.example.org?SECRET",
        "smtp://mail.example.org#SECRET",
        "smtp://mail.example.org:99999",
        "smtp://mail.example.org:-1",
        "smtp://mail.example.org:SECRET",
        "smtp://mail..example.org",
        "smtp://mail example.org",
        "smtp://mail\x00.example.org",
        "smtps://℀.com",
        "smtps://ex\u00adample.com",
        "smtp://[::1",
        "smtps://us@mail.example.org",
        "smtps://us:@mail.example.org",
        "smtps://:SECRET@mail.example.org",
        "smtps://us:SECRET%00@mail.example.org",
        "smtps://us:SECRET%ff@mail.example.org",
        "smtps://us:SEC/RET@mail.example.org",
        "smtps://us:SEC#RET@mail.example.org",
        "smtp+plain://us:SECRET@mail.example.org",
        "sendmail://",
        "sendmail://usr/sbin/SECRET",
        "sendmail:///",
        "sendmail:///usr/sbin/sendmail?-SECRET",
        "sendmail:///usr/sbin/sendmail%00SECRET",
        "sendmail://us:SECRET@/usr/sbin/sendmail",
        "sendmail:usr/sbin/sendmail",
    ],
)
def test_what_is_no_such_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Relay.from_url(url, "main")
    assert "main" in str(refused.value)
    assert not any(part in str(refused.value) for part in ("SECRET", "RET@", "SEC/", "SEC#"))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_password_goes_in_the_clear_on_loopback_only() -> None:
    assert Relay.from_url("smtp://us:secret@127.0.0.1").security is NONE


def test_neither_the_name_nor_the_repr_of_a_relay_shows_the_password() -> None:
    relay = Relay.from_url("smtps://us:secret@[2001:db8::25]")
    assert "secret" not in repr(relay)
    assert str(relay) == "default ([2001:db8::25]:465, tls)"


def test_a_program_is_a_relay() -> None:
    relay = Relay.from_url("sendmail:///usr/lib/send%20mail")
    assert relay.program == ("/usr/lib/send mail", "-i")
    assert str(relay) == "default (/usr/lib/send mail)"


def test_a_password_may_come_from_elsewhere() -> None:
    relay = Relay.from_url("smtps://us@mail.example.org", password="secret")
    assert (relay.user, relay.password) == ("us", "secret")
    assert "secret" not in repr(relay)


@pytest.mark.parametrize(
    ("url", "password", "token"),
    [
        ("smtps://us:SECRET@mail.example.org", "SECRET", ""),
        ("smtps://us:SECRET@mail.example.org", "", "our.tokens:token"),
        ("smtps://us@mail.example.org", "SECRET", "our.tokens:token"),
        ("smtps://mail.example.org", "SECRET", ""),
        ("smtps://mail.example.org", "", "our.tokens:token"),
        ("smtp+plain://us@mail.example.org", "", "our.tokens:token"),
        ("smtps://us@mail.example.org", "SEC\0RET", ""),
        ("sendmail:///usr/sbin/sendmail", "SECRET", ""),
    ],
)
def test_credentials_that_contradict_each_other_are_refused_and_not_shown(url: str, password: str, token: str) -> None:
    with pytest.raises(InvalidSettings, match="main") as refused:
        Relay.from_url(url, "main", password=password, token=token)
    assert "SEC" not in str(refused.value)


def test_limits_hold_for_the_domain_named_else_for_every_domain_else_there_are_none() -> None:
    five, one = Limits(letters_per_s=5), Limits(letters_per_s=1)
    relay = Relay("main", "h", 25, NONE, domains={"gmail.com": five, "*": one})
    assert (relay.limits_for("gmail.com"), relay.limits_for("example.org")) == (five, one)
    assert Relay("main", "h", 25, NONE).limits_for("gmail.com") == Limits()


def test_a_relay_can_be_a_key() -> None:
    assert len({Relay.from_url("smtps://h"), Relay.from_url("smtps://h"), Relay.from_url("smtps://i")}) == 2


SCHEMES = st.sampled_from(["", "smtp://", "smtps://", "smtp+starttls://", "smtp+plain://", "sendmail://", "http://"])
USERS = st.one_of(st.just(""), st.builds(lambda user, secret: f"{user}:SECRET{secret}@", st.text(), st.text()))


@given(SCHEMES, USERS, st.one_of(st.text(), st.sampled_from(["h", "h:25", "[::1]:25", "/usr/sbin/sendmail"])))
def test_any_text_is_a_relay_or_refused_and_not_shown(scheme: str, user: str, rest: str) -> None:
    try:
        relay = Relay.from_url(scheme + user + rest)
    except InvalidSettings as error:
        told = str(error)
    else:
        # With a slash before it, it is no password, but a part of what is shown.
        told = repr(replace(relay, host="", user="", program=()))
    assert "SECRET" not in told
