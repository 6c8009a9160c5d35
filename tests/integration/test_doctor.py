"""`postroom doctor` on real installations, well and ill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from redis import Redis

from house import House, NewHouse
from name_server import SILENCE, NameServer, asking
from postroom import LetterState, Settings
from postroom.broker import QUEUE
from postroom.cli import main
from postroom.ledger.health import redis_facts
from postroom.ledger.workers import sign_in, sign_out, workers
from postroom.version import __version__
from postroom_worker.dev.server import Server, wait_until
from postroom_worker.published_key import findings, record
from postroom_worker.signing_key import SigningKey


def doctor(house: House, *arguments: str) -> Result:
    environment: dict[str, str | None] = {**house.environment, "COLUMNS": "100"}
    return CliRunner().invoke(main, ["doctor", *arguments], env=environment)


def found(house: House, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    """The findings, by area."""
    areas: dict[str, list[dict[str, Any]]] = {}
    for line in doctor(house, "--json", *arguments).stdout.splitlines():
        finding = json.loads(line)
        areas.setdefault(finding["area"], []).append(finding)
    return areas


def test_where_a_worker_works_all_is_well_but_for_how_the_server_is_set_up(shared: House) -> None:
    wait_until(lambda: workers(shared.ledger), "the worker has signed in")
    areas = found(shared)
    for area in ("redis", "clock", "workers", "schedule", "broker", "work"):
        assert [each["level"] for each in areas[area]] == ["ok"] * len(areas[area]), areas[area]
    assert [each["what"] for each in areas["work"]] == [
        "what is put on the queue postroom is done",
        "what is put on the queue postroom.bulk is done",
    ]
    assert __version__ in areas["workers"][0]["what"]
    [has_file, *_] = (each.is_append_only for each in redis_facts(shared.ledger))
    assert areas["persistence"][0]["level"] == ("ok" if has_file else "bad")
    assert areas["dkim"][0]["what"] == "letters are not signed here"


def test_where_nobody_works_it_is_told_with_the_remedy(new_house: NewHouse) -> None:
    here = new_house()
    result = doctor(here, "--timeout", "0.1")
    assert result.exit_code == 1
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "✗ workers      no worker is here" in lines
    assert "→ start one: celery -A postroom_worker worker" in lines
    assert any(line.startswith(f"✗ work         a task on the queue {QUEUE} was not done") for line in lines)


def test_a_user_whom_redis_forbids_something_is_not_told_to_have_another_password(
    new_house: NewHouse, redis_server: Server
) -> None:
    here = new_house()
    with Redis.from_url(redis_server.url) as redis:
        redis.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], categories=["+@read", "+@connection"], keys=["*"]
        )
        here.environment["POSTROOM_REDIS_URL"] = redis_server.url.replace("redis://", "redis://reader:secret@")
        [finding] = found(here)["redis"]
        redis.acl_deluser("reader")
    assert finding["what"].startswith("Redis forbids our user what we need (")
    assert "'info'" in finding["what"]


def test_sentinels_that_are_away_are_told_in_words(new_house: NewHouse) -> None:
    here = new_house()
    here.environment["POSTROOM_REDIS_URL"] = "sentinel://127.0.0.1:1/0?master=postroom"
    [finding] = found(here)["redis"]
    assert finding["what"] == "no Sentinel answers that knows the primary: see POSTROOM_REDIS_URL"


def test_a_key_that_somebody_else_wrote_to_is_told_with_the_remedy(new_house: NewHouse) -> None:
    here = new_house()
    assert "damaged" not in found(here, "--timeout", "0.1")
    receipt = here.postroom.send_letter("ann@example.com", "hi")
    index = here.ledger.keys.index_of(receipt.id, LetterState.QUEUED)
    here.ledger.redis.set(index, "somebody else's")
    receipt.cancel()
    [finding] = found(here, "--timeout", "0.1")["damaged"]
    assert f"{index}:damaged" in finding["what"]
    assert finding["remedy"]


def test_a_broker_that_is_away_is_told_and_all_else_is_examined(new_house: NewHouse) -> None:
    areas = found(new_house(POSTROOM_BROKER_URL="redis://127.0.0.1:1/0"))
    assert [each["level"] for each in areas["broker"]] == ["bad"]
    assert "work" not in areas
    assert "dkim" in areas


def test_a_redis_that_is_away_is_told() -> None:
    result = CliRunner().invoke(main, ["--redis-url", "redis://127.0.0.1:1/0", "doctor", "--json"])
    assert result.exit_code == 1
    first = json.loads(result.stdout.splitlines()[0])
    assert (first["area"], first["level"]) == ("redis", "bad")


def test_a_worker_is_known_from_when_it_signs_in_until_it_signs_out(new_house: NewHouse) -> None:
    ledger = new_house().ledger
    sign_in(ledger, "b@host", "1.0")
    sign_in(ledger, "a@host", "0.9")
    sign_in(ledger, "a@host", "1.0")
    assert [(each.name, each.version) for each in workers(ledger)] == [("a@host", "1.0"), ("b@host", "1.0")]
    sign_out(ledger, "b@host", "1.0")
    assert [each.name for each in workers(ledger)] == ["a@host"]


# --- DKIM -----------------------------------------------------------------------------------------------------------

SIGNING = {
    "rsa": SigningKey("example.org", "rsa", generate_private_key(65537, 2048)),
    "ed": SigningKey("example.org", "ed", Ed25519PrivateKey.generate()),
}


@pytest.fixture
def keys(tmp_path: Path) -> Settings:
    """Settings that name a file of both keys."""
    tables = []
    for name, key in SIGNING.items():
        pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(pem)
        (tmp_path / f"{name}.pem").chmod(0o600)
        tables.append(f'[[key]]\ndomain = "example.org"\nselector = "{name}"\nfile = "{name}.pem"\n')
    (tmp_path / "dkim.toml").write_text("".join(tables))
    return Settings(dkim=str(tmp_path / "dkim.toml"))


def txt(text: str) -> list[str]:
    """A TXT record, in strings of at most 255 octets."""
    return [" ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))]


def judged(settings: Settings, rsa: list[str] | None, ed: list[str] | None) -> list[tuple[str, str]]:
    published = {"rsa": rsa, "ed": ed}
    zone = {f"{name}._domainkey.example.org": {"TXT": found} for name, found in published.items() if found}
    with asking(NameServer(zone)) as resolver:
        return [(each.level, each.what) for each in findings(settings, resolver)]


def test_keys_that_are_published_are_well(keys: Settings) -> None:
    spaced = record(SIGNING["ed"]).replace("; ", " ;\t").replace("p=", "p= ")
    assert judged(keys, txt(record(SIGNING["rsa"])), txt(spaced.replace("\t", " "))) == [
        ("ok", "rsa._domainkey.example.org is published"),
        ("ok", "ed._domainkey.example.org is published"),
    ]


@pytest.mark.parametrize(
    ("published", "level", "says"),
    [
        (None, "bad", "is not published"),
        (["v=DKIM1; k=rsa; p="], "bad", "is revoked"),
        (["something else"], "bad", "is revoked"),
        (["v=DKIM1; p=AAAA"], "bad", "has another key"),
        (["v=DKIM1; p=!"], "bad", "has another key"),
        ([r"v=DKIM1; p=\255"], "bad", "has another key"),
        ([f"{record(SIGNING['ed'])}; t=y:s"], "warn", "for a test only"),
        (["v=DKIM1; p=AAAA", "v=DKIM1; p=BBBB"], "bad", "has 2 records"),
    ],
)
def test_a_key_that_verifiers_would_not_find_is_told(
    keys: Settings, published: list[str] | None, level: str, says: str
) -> None:
    _, ed = judged(keys, None, published and [record for each in published for record in txt(each)])
    assert ed[0] == level
    assert says in ed[1]


def test_a_name_server_that_is_silent_says_nothing_of_the_key(keys: Settings) -> None:
    faults: Any = {(f"{name}._domainkey.example.org", "TXT"): SILENCE for name in SIGNING}
    with asking(NameServer({}, faults)) as resolver:
        assert [each.level for each in findings(keys, resolver, timeout_s=0.05)] == ["warn", "warn"]


def test_a_remedy_tells_what_to_publish_and_nothing_of_the_private_key(keys: Settings) -> None:
    with asking(NameServer({})) as resolver:
        rsa, ed = findings(keys, resolver)
    assert rsa.remedy.startswith("publish the TXT record v=DKIM1; k=rsa; p=MIIB")
    assert ed.remedy.startswith("publish the TXT record v=DKIM1; k=ed25519; p=")


def test_a_file_of_keys_that_cannot_be_read_is_told() -> None:
    (found,) = findings(Settings(dkim="/no/such/file.toml"))
    assert (found.level, found.area) == ("bad", "dkim")
