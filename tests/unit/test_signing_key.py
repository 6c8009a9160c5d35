"""The file that tells whose letters are signed with which key: read, or refused with a word on what to do."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from postroom.errors import InvalidSettings
from postroom_worker import signing_key
from postroom_worker.signing_key import read_keys

RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
ED25519 = Ed25519PrivateKey.generate()
PKCS8 = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ENTRY = '[[key]]\ndomain = "example.org"\nselector = "s1"\nfile = "key.pem"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a good key is."""
    keep(tmp_path / "key.pem", PKCS8)
    return tmp_path


def keep(path: Path, octets: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(octets)


def write(folder: Path, text: str) -> str:
    (folder / "dkim.toml").write_text(text)
    return str(folder / "dkim.toml")


def test_no_file_is_no_keys() -> None:
    assert read_keys("") == ()


def test_keys_are_read_in_every_form(folder: Path) -> None:
    keep(folder / "pkcs1.pem", RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    keep(folder / "ed.pem", ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    others = (
        '[[key]]\ndomain = "Bücher.example"\nselector = "2026.s-1"\nfile = "pkcs1.pem"\nsubdomains = true\n'
        f'[[key]]\ndomain = "example.org"\nselector = "s2"\nfile = "{folder}/ed.pem"\n'
    )
    first, second, third = read_keys(write(folder, ENTRY + others))
    assert (first.domain, first.selector, first.subdomains, first.algorithm) == (
        "example.org",
        "s1",
        False,
        "rsa-sha256",
    )
    assert (second.domain, second.selector, second.subdomains) == ("xn--bcher-kva.example", "2026.s-1", True)
    assert first.sign(bytes(32)) == second.sign(bytes(32))
    assert third.algorithm == "ed25519-sha256"
    assert third.sign(bytes(32)) == ED25519.sign(bytes(32))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "missing required field `key`"),
        ("key = []", "length >= 1"),
        ("[[key", "Expected ']]'"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "line 1"),
        ('key = "x"', "array"),
        (ENTRY + "bits = 1", "unknown field `bits`"),
        (ENTRY.replace("selector", "slector"), "slector"),
        (ENTRY.replace('"s1"', "1"), "$.key[0].selector"),
        (ENTRY + 'subdomains = "no"', "subdomains"),
        (ENTRY + ENTRY, "s1._domainkey.example.org stands there 2 times"),
        (ENTRY.replace("example.org", "exa mple.org"), "'exa mple.org' is no domain"),
        (ENTRY.replace("example.org", "ex;ample.org"), "no domain"),
        (ENTRY.replace("example.org", ""), "no domain"),
        (ENTRY.replace('"s1"', '"s1; d=x"'), "selector"),
        (ENTRY.replace('"s1"', '"s1."'), "selector"),
        (ENTRY.replace('"s1"', '""'), "selector"),
        (ENTRY.replace('"s1"', f'"{"s" * 64}"'), "selector"),
        (ENTRY.replace("key.pem", "none.pem"), "none.pem cannot be read (No such file or directory)"),
        (ENTRY.replace("key.pem", "."), "(Is a directory)"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(folder: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read_keys(write(folder, text))
    assert str(caught.value).startswith(f"POSTROOM_DKIM, {folder}/dkim.toml: ")
    assert says in str(caught.value)


def test_a_missing_file_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"none\.toml: it cannot be read \(No such file or directory\)"):
        read_keys(str(folder / "none.toml"))


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "no private key"),
        (b"secret", "no private key"),
        (PKCS8[:400], "no private key"),
        (PKCS8.replace(b"M", b"N"), "no private key"),
        (RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), "no private key"),
        (RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")), "unencrypted"),
        (CURVE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "neither RSA nor Ed25519"),
    ],
    ids=["empty", "no PEM", "cut", "broken", "DER", "encrypted", "elliptic curve"],
)
def test_a_key_that_cannot_sign_is_refused_without_showing_it(folder: Path, octets: bytes, says: str) -> None:
    keep(folder / "key.pem", octets)
    with pytest.raises(InvalidSettings) as caught:
        read_keys(write(folder, ENTRY))
    assert "s1._domainkey.example.org" in str(caught.value)
    assert str(folder / "key.pem") in str(caught.value)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value).replace(str(folder), "")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_key_that_verifiers_fail_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Shorter ones than this are made by no library any more.
    monkeypatch.setattr(signing_key, "_RSA_BITS_MIN", 4096)
    with pytest.raises(InvalidSettings, match=r"key\.pem has 2048 bits"):
        read_keys(write(folder, ENTRY))


def test_a_key_that_others_can_open_is_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_keys(write(folder, ENTRY))
    assert not caplog.messages
    (folder / "key.pem").chmod(0o644)
    read_keys(write(folder, ENTRY))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{folder}/key.pem" in caplog.text


def test_a_key_shows_in_no_repr_and_no_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "key.pem").chmod(0o666)
    [key] = read_keys(write(folder, ENTRY))
    assert repr(key) == "SigningKey(domain='example.org', selector='s1', subdomains=False)"
    secret = PKCS8.decode().splitlines()[1]
    assert secret not in caplog.text + repr(key) + str(key)
