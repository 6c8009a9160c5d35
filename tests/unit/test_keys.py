"""Names of Redis's keys, of ids, digests, relays and domains: no two meet, and nothing that is given breaks one."""

from __future__ import annotations

import string
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from postroom import InvalidLetter, LetterState, Settings
from postroom.address import ascii_domain, domain_of
from postroom.errors import InvalidSettings
from postroom.keywords import name_of_relay, tags
from postroom.ledger.keys import Keys
from postroom.letter_id import check_id
from postroom_worker.relay_file import read_relays

HOSTILE = [
    "",
    "a b",
    "a\n",
    "a\nb",
    "a\r\nDEL postroom:kept",
    "{a}",
    "a}:letters",
    "{",
    "*",
    "a?",
    "[ab]",
    "é",
    "\u0430",
    "\x00",
    "a/../b",
    "a\\b",
    "a" * 10_000,
    '"a"',
    "$(a)",
]
"""What would end a hash tag, match other keys, look like another letter of the alphabet, or fill Redis."""
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=40)
LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
IDS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:20])
def test_no_hostile_name_passes_any_door(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidLetter):
        check_id(name)
    with pytest.raises(InvalidLetter):
        name_of_relay(name, "relay")
    with pytest.raises(InvalidLetter):
        tags([name], "tags")
    quoted = "".join(f"\\u{ord(each):04x}" for each in name)
    path = tmp_path / "relays.toml"
    path.write_text(f'[relays."{quoted}"]\nurl = "smtp://relay.example.org"\n')
    with pytest.raises(InvalidSettings):
        read_relays(Settings(relays=str(path)))


@pytest.mark.parametrize(
    "domain", [each for each in HOSTILE if each not in ("é", "\u0430")], ids=lambda each: repr(each)[:20]
)
def test_no_hostile_domain_becomes_part_of_a_key(domain: str) -> None:
    with pytest.raises(InvalidLetter):
        ascii_domain(f"{domain}.example" if domain else "", "to")


@pytest.mark.parametrize("domain", ["BÜCHER.example", "bücher.EXAMPLE", "xn--bcher-kva.example"])
def test_a_domain_has_one_name_however_it_is_written(domain: str) -> None:
    assert domain_of(f"ann@{domain}") == "xn--bcher-kva.example"


def of_relay(keys: Keys, relay: str, domain: str) -> dict[tuple[str, str], str]:
    """All keys of a relay and of a recipient domain there."""
    return {
        ("breaker", ""): keys.relay_breaker(relay),
        ("slowed", ""): keys.relay_slowed(relay),
        ("refusals", ""): keys.relay_refusals(relay),
        ("wanted", ""): keys.relay_wanted(relay),
        ("trace", ""): keys.relay_trace(relay),
        ("sessions", ""): keys.relay_sessions(relay),
        ("letters", ""): keys.relay_letters(relay),
        ("connections", ""): keys.relay_connections(relay),
        ("sessions", domain): keys.relay_sessions(relay, domain),
        ("letters", domain): keys.relay_letters(relay, domain),
        ("connections", domain): keys.relay_connections(relay, domain),
    }


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), st.lists(DOMAINS, min_size=2, max_size=4, unique=True))
def test_keys_of_relays_and_domains_do_not_meet_and_those_of_a_relay_share_a_slot(
    relays: list[str], domains: list[str]
) -> None:
    keys = Keys(16)
    found = {
        (relay, *what): key
        for relay, domain in product(relays, domains)
        for what, key in of_relay(keys, relay, domain).items()
    }
    assert len(set(found.values())) == len(found)
    for relay in relays:
        assert len({key_slot(key.encode()) for (owner, *_), key in found.items() if owner == relay}) == 1
    for (_, what, _), key in found.items():
        assert (Keys.type_of(key) is None) == (what == "wanted")


@given(st.lists(IDS, min_size=2, max_size=4, unique=True), st.integers(1, 64))
def test_keys_of_letters_do_not_meet_and_those_of_a_partition_share_a_slot(ids: list[str], partitions: int) -> None:
    keys = Keys(partitions)
    own = [key for each in ids for key in (keys.letter(each), keys.history(each))]
    assert len(set(own)) == len(own)
    for each in ids:
        partition = keys.partition(each)
        beside = [keys.index(state, partition) for state in LetterState]
        webhooks = [keys.webhooks(partition, place) for place in range(3)]
        due = [keys.webhooks_due(partition, place) for place in range(3)]
        assert {*map(Keys.type_of, webhooks)} == {"hash"}
        assert {*map(Keys.type_of, due)} == {"zset"}
        beside += [keys.events(partition), *webhooks, *due]
        assert len(set(beside)) == len(beside)
        assert not set(beside) & set(own)
        assert len({key_slot(key.encode()) for key in (*beside, keys.letter(each), keys.history(each))}) == 1
        assert Keys.beside(keys.history(each)) == [keys.history(each), keys.events(partition)]
        assert (Keys.type_of(keys.letter(each)), Keys.type_of(keys.history(each))) == ("hash", "list")


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_contents_and_those_who_need_them_share_a_slot(sha256: str) -> None:
    octets, letters = Keys().contents(sha256), Keys().contents_letters(sha256)
    assert key_slot(octets.encode()) == key_slot(letters.encode())
    assert (Keys.type_of(octets), Keys.type_of(letters)) == ("string", "zset")
