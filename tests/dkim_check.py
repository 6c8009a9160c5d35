"""A verifier of DKIM signatures, written after RFC 6376 and RFC 8463 with nothing but regular expressions and
`cryptography`: it shares no code with what signs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

Txt = Callable[[str], str]
"""The DNS: a name → the text of its TXT record."""


def verify(message: bytes, txt: Txt) -> list[str]:
    """Return what becomes of each signature, from the top: ``rsa-sha256=pass``, ``ed25519-sha256=fail``."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = [_field(raw) for raw in re.split(rb"\r\n(?![ \t])", head)]
    signatures = [value for name, value in fields if name == b"dkim-signature"]
    return [_verify(value, fields, body, txt) for value in signatures]


def tags(value: bytes) -> dict[str, str]:
    """Return the tags of a DKIM-Signature, or of a key's record, without white space (§3.2)."""
    specs = re.sub(r"\s", "", value.decode()).rstrip(";").split(";")
    return {name: text for name, _, text in (each.partition("=") for each in specs)}


def relaxed_body(body: bytes) -> bytes:
    """§3.4.4, to the letter."""
    lines = [re.sub(rb"[ \t]+", b" ", re.sub(rb"[ \t]+\Z", b"", line)) for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _field(raw: bytes) -> tuple[bytes, bytes]:
    name, _, value = raw.partition(b":")
    return name.strip(b" \t").lower(), value


def _relaxed_field(name: bytes, value: bytes) -> bytes:
    """§3.4.2, without the CRLF."""
    return name + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")


def _verify(value: bytes, fields: list[tuple[bytes, bytes]], body: bytes, txt: Txt) -> str:
    of = tags(value)
    assert of["v"] == "1"
    assert of["c"] == "relaxed/relaxed"
    hashed_body = hashlib.sha256(relaxed_body(body)).digest()
    # §5.4.2: instances of a field are taken from the bottom; one that is not there is the empty string.
    left = list(fields)
    hashed = b""
    for name in of["h"].lower().encode().split(b":"):
        place = next((place for place in reversed(range(len(left))) if left[place][0] == name), None)
        if place is not None:
            hashed += _relaxed_field(*left.pop(place)) + b"\r\n"
    hashed += _relaxed_field(b"dkim-signature", re.sub(rb"([;\s]b=)[^;]*", rb"\1", value))
    record = tags(txt(f"{of['s']}._domainkey.{of['d']}").encode())
    is_right = base64.b64decode(of["bh"]) == hashed_body and _is_signed(of, hashed, record)
    return f"{of['a']}={'pass' if is_right else 'fail'}"


def _is_signed(of: dict[str, str], hashed: bytes, record: dict[str, str]) -> bool:
    signature, public = base64.b64decode(of["b"]), base64.b64decode(record["p"])
    assert f"{record['k']}-sha256" == of["a"]
    try:
        if of["a"] == "rsa-sha256":
            key = load_der_public_key(public)
            assert isinstance(key, RSAPublicKey)
            key.verify(signature, hashed, PKCS1v15(), SHA256())
        else:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, hashlib.sha256(hashed).digest())
    except InvalidSignature:
        return False
    return True
