"""What `postroom doctor` tells of the relays: name, connection, certificate, credentials; each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from postroom import Settings
from postroom.finding import Finding, Level
from postroom_worker.dev.scripted_relay import OFFERS, say, scripted_relay
from postroom_worker.relay_check import findings


def judged(url: str, **settings: str) -> list[Finding]:
    environment = {"POSTROOM_RELAY_URL": url, "POSTROOM_EHLO_NAME": "worker.example.org", **settings}
    return list(findings(Settings.from_environment(environment), timeout_s=30))


@contextmanager
def encrypted(days: int, credentials: tuple[str, str] = ("us", "secret")) -> Iterator[tuple[str, str]]:
    """A relay with a certificate for so many days: its URL, and the file of its authority."""
    authority = trustme.CA()
    ends = datetime.now(UTC) + timedelta(days=days, hours=1)
    offers = (*OFFERS, "AUTH PLAIN")
    with authority.cert_pem.tempfile() as ca_file, scripted_relay(offers=offers, credentials=credentials) as relay:
        authority.issue_cert("127.0.0.1", not_after=ends).configure_cert(relay.use_tls(implicit=True))
        yield f"smtps://us:secret@127.0.0.1:{relay.port}", ca_file


def test_a_relay_that_lets_us_in_is_well() -> None:
    with encrypted(days=90) as (url, ca_file):
        found = judged(url, POSTROOM_CA_FILE=ca_file)
    assert [each.level for each in found] == [Level.OK] * 3
    assert "good for 90 more days" in found[1].what
    assert found[2].what == "default lets us in, as us"


def test_a_certificate_that_ends_soon_is_told() -> None:
    with encrypted(days=5) as (url, ca_file):
        found = judged(url, POSTROOM_CA_FILE=ca_file)
    assert [(each.level, each.what) for each in found if each.level is not Level.OK] == [
        (Level.WARN, "default: its certificate is good for 5 more days")
    ]


@pytest.mark.parametrize(
    ("credentials", "is_trusted", "told", "remedy"),
    [
        (("us", "secret"), False, "certificate", "POSTROOM_CA_FILE"),
        (("us", "another"), True, "535", "password"),
    ],
)
def test_a_relay_that_does_not_let_us_in_is_told_with_the_remedy(
    credentials: tuple[str, str], is_trusted: bool, told: str, remedy: str
) -> None:
    with encrypted(90, credentials) as (url, ca_file):
        found = judged(url, **({"POSTROOM_CA_FILE": ca_file} if is_trusted else {}))
    assert found[-1].level is Level.BAD
    assert told in found[-1].what
    assert remedy in found[-1].remedy
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtp+plain://nobody.invalid", "nobody.invalid has no address"),
        ("smtp://127.0.0.1:1", "no address of 127.0.0.1 answers"),
        ("sendmail:///nowhere/sendmail", "/nowhere/sendmail cannot be run here"),
    ],
)
def test_a_relay_that_is_not_there_is_told(url: str, told: str) -> None:
    found = judged(url)
    assert found[-1].level is Level.BAD
    assert told in found[-1].what


def test_a_relay_that_refuses_our_name_is_told_with_the_remedy() -> None:
    with scripted_relay({"ehlo": say("550 who are you")}) as relay:
        found = judged(relay.url)
    assert "POSTROOM_EHLO_NAME" in found[-1].remedy


def test_relays_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (found,) = judged("", POSTROOM_RELAYS=str(tmp_path / "nowhere.toml"))
    assert found.level is Level.BAD
    assert "nowhere.toml" in found.what
