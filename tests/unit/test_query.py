"""Queries: which letters they find, told by a letter's status alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from postroom import LetterState, LetterStatus, RecipientState, RecipientStatus
from postroom.ledger.query import Query, codes, is_code_pattern

DEFERRED, SENT = LetterState.DEFERRED, LetterState.SENT


def letter(**recipients: str) -> LetterStatus:
    """A deferred letter with two tags, accepted at 100 s; the keywords are replies, by the name at example.com."""
    return LetterStatus(
        id="L1",
        state=DEFERRED,
        recipients={
            f"{name}@Example.com": RecipientStatus(RecipientState.DEFERRED, reply, 1)
            for name, reply in (recipients or {"ann": ""}).items()
        },
        attempts=1,
        next_attempt_at=None,
        reason="",
        accepted_at=100.0,
        subject="",
        sender="",
        tags=("spring", "news"),
    )


def finds(found: LetterStatus, **asked: Any) -> bool:
    return Query(**{"states": (DEFERRED,), **asked}).is_met_by(found)


@pytest.mark.parametrize("address", ["ann@xn--bcher-kva.example", "jörg@bücher.example"])
@pytest.mark.parametrize("domain", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
def test_a_domain_is_found_however_it_is_written(address: str, domain: str) -> None:
    found = replace(letter(), recipients={address: RecipientStatus(RecipientState.DEFERRED, "", 1)})
    assert finds(found, recipient=domain)
    assert finds(found, recipient=f"{address.rpartition('@')[0].upper()}@{domain}")
    assert not finds(found, recipient=f"ben@{domain}")


def test_a_query_without_more_finds_the_letters_of_its_states() -> None:
    assert finds(letter())
    assert finds(letter(), states=(SENT, DEFERRED))
    assert not finds(letter(), states=(SENT,))
    assert not Query(states=(SENT,)).is_narrow
    assert Query(states=(SENT,), code="4xx").is_narrow


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ({"tags": ("spring",)}, True),
        ({"tags": ("autumn", "news")}, True),
        ({"tags": ("autumn",)}, False),
        ({"tags": ("spr",)}, False),
        ({"recipient": "ann@example.com"}, True),
        ({"recipient": "ANN@example.COM"}, True),
        ({"recipient": "example.com"}, True),
        ({"recipient": "@example.com"}, True),
        ({"recipient": "ample.com"}, False),
        ({"recipient": "ann"}, False),
        ({"recipient": "nn@example.com"}, False),
        ({"since_ms": 100_000}, True),
        ({"since_ms": 100_001}, False),
        ({"before_ms": 100_001}, True),
        ({"before_ms": 100_000}, False),
        ({"tags": ("spring",), "recipient": "example.org"}, False),
    ],
)
def test_all_that_is_asked_has_to_hold(asked: dict[str, Any], is_found: bool) -> None:
    assert finds(letter(), **asked) is is_found


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        *((code, True) for code in ("451", "4xx", "45x", "4.7.1", "4.x.x", "4.7.x")),
        *((code, False) for code in ("452", "5xx", "5.7.1", "4.7.11", "4.1.1")),
    ],
)
def test_a_code_is_compared_with_what_was_replied_last(code: str, is_found: bool) -> None:
    assert finds(letter(ann="451 4.7.1 Greylisted, see 550 5.7.1"), code=code) is is_found
    assert finds(letter(ann="uncertain, it may have been accepted: 451 4.7.1 oops"), code=code) is is_found
    assert not finds(letter(ann="connection refused"), code=code)


def test_recipient_and_code_are_asked_of_one_and_the_same_recipient() -> None:
    found = letter(ann="451 4.7.1 Greylisted", ben="550 5.1.1 No such mailbox")
    assert finds(found, recipient="ann@example.com", code="4xx")
    assert not finds(found, recipient="ann@example.com", code="5xx")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("250 2.0.0 OK", ("250", "2.0.0")),
        ("421", ("421", "")),
        ("421 busy", ("421", "")),
        ("", ("", "")),
        ("4210 x", ("", "")),
        ("4.7.1 x", ("", "")),
    ],
)
def test_a_reply_begins_with_its_codes_or_has_none(reply: str, found: tuple[str, str]) -> None:
    assert codes(reply) == found


@pytest.mark.parametrize("text", ["451", "4xx", "45x", "4.7.1", "5.x.x", "5.1.x", "2.123.456"])
def test_a_pattern_of_codes_is_one(text: str) -> None:
    assert is_code_pattern(text)


@pytest.mark.parametrize(
    "text", ["", "45", "4511", "1xx", "6xx", "x51", "3.1.1", "4.7", "4..1", ".*", "(4|5)xx", "4xx\n"]
)
def test_what_is_no_pattern_of_codes_is_none(text: str) -> None:
    assert not is_code_pattern(text)
