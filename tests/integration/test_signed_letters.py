"""Letters leave the worker signed, retries as much as the first attempt; and when a key fails they do not leave."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dkim_check import verify
from house import NewHouse, desk
from postroom import LetterState
from postroom_worker.dev.capture import greylisted
from postroom_worker.dev.scripted_relay import scripted_relay
from postroom_worker.signing_key import SigningKey

PRIVATE = Ed25519PrivateKey.generate()
RECORD = f"v=DKIM1; k=ed25519; p={base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()}"


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    """What POSTROOM_DKIM names."""
    key = tmp_path / "key.pem"
    key.touch(0o600)
    key.write_bytes(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\ndomain = "example.org"\nselector = "s"\nfile = "key.pem"\n')
    return str(keys)


class Failing(SigningKey):
    """A key that does not sign."""

    def sign(self, digest: bytes) -> bytes:
        """Fail."""
        raise ValueError(digest)


def test_every_copy_carries_the_same_signature_and_it_verifies(new_house: NewHouse, keys_file: str) -> None:
    here = new_house(POSTROOM_DKIM=keys_file)
    here.answers["grey@example.com"] = greylisted(1)
    here.worker()
    receipt = here.postroom.send_letter(
        ["quick@example.com", "grey@example.com"],
        ".dots\n\nand  blanks \n",
        subject="Grüße",
        attachments=[("large.bin", bytes(range(256)) * 1024)],
    )
    assert receipt.wait().state is LetterState.SENT
    first, second = here.octets(receipt)
    assert first == second
    assert verify(first, {"s._domainkey.example.org": RECORD}.__getitem__) == ["ed25519-sha256=pass"]


def test_a_letter_that_cannot_be_signed_waits(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        here.office = replace(here.office, keys=(Failing("example.org", "s", PRIVATE),))
        receipt = here.accept("waits@example.com")
        status = here.deliver(receipt)
        assert relay.taken == []
    assert status.state is LetterState.DEFERRED
    assert status.attempts == 0
