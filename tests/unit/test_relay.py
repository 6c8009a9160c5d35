"""A relay's URL."""

from __future__ import annotations

import pytest

from postroom import InvalidSettings
from postroom_worker.relay import Relay, Security

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
