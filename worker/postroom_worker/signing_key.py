"""Signing keys: the private keys that letters are signed with (DKIM), and the file that tells whose they are."""

from __future__ import annotations

import logging
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import idna
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from postroom.address import ascii_domain
from postroom.errors import InvalidLetter, InvalidSettings

log = logging.getLogger("postroom")

_RSA_BITS_MIN: Final = 1024
_SELECTOR: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.(?!\Z)|\Z)){1,10}")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and whose letters it signs."""

    domain: str
    """In A-labels: what d= says."""
    selector: str
    """What s= says: the public key is in the DNS at ``selector._domainkey.domain`` (RFC 6376 §3.6.2.1)."""
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)
    subdomains: bool = False
    """Whether it signs for authors of subdomains too."""

    @property
    def algorithm(self) -> str:
        """What a= says."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    def is_for(self, domain: str) -> bool:
        """Say whether it signs for an author at this domain, which is in lower case, in A-labels or U-labels."""
        own = self.domain if domain.isascii() else idna.decode(self.domain)
        return domain == own or (self.subdomains and domain.endswith(f".{own}"))

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of a SHA-256 digest (RFC 6376 §3.3, RFC 8463 §3)."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, PKCS1v15(), Prehashed(hashes.SHA256()))
        return self.private.sign(digest)


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    domain: str
    selector: str
    file: str
    subdomains: bool = False

    def __str__(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    key: Annotated[tuple[_Entry, ...], msgspec.Meta(min_length=1)]


def read_keys(path: str) -> tuple[SigningKey, ...]:
    """Return the keys that a TOML file names; none for the empty path.

    A key is a table ``[[key]]``: ``domain``, ``selector``, ``file`` (PEM, PKCS #8 or PKCS #1, not encrypted; relative
    to the TOML file) and ``subdomains`` (false).

    Raises:
        InvalidSettings: it, or one of the keys, cannot be used. The message names both, and shows nothing of a key.
    """
    if not path:
        return ()
    try:
        entries = msgspec.toml.decode(Path(path).read_bytes(), type=_File).key
    except OSError as error:
        raise _invalid(path, f"it cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        remedy = "write tables [[key]] with domain, selector, file and, if you like, subdomains"
        raise _invalid(path, f"{error}; {remedy}") from None
    for name, times in Counter(map(str, entries)).items():
        if times > 1:
            raise _invalid(path, f"{name} stands there {times} times; give every key a selector of its own")
    return tuple(_key(path, each) for each in entries)


def _key(path: str, entry: _Entry) -> SigningKey:
    try:
        domain = ascii_domain(entry.domain, "domain")
    except InvalidLetter as error:
        raise _invalid(path, f"{entry}: {error}") from None
    if not _SELECTOR.fullmatch(entry.selector):
        raise _invalid(path, f"{entry}: the selector is no name in the DNS; use letters, digits, hyphens and dots")
    private = _private(path, entry, Path(path).parent / entry.file)
    return SigningKey(domain, entry.selector, private, entry.subdomains)


def _private(path: str, entry: _Entry, file: Path) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        private = load_pem_private_key(file.read_bytes(), password=None)
        is_open = bool(file.stat().st_mode & stat.S_IRWXO)
    except OSError as error:
        raise _invalid(path, f"{entry}: {file} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may show what was read
        problem = f"{file} holds no private key, or an encrypted one"
        raise _invalid(path, f"{entry}: {problem}; write it as PEM, PKCS #8 or PKCS #1, unencrypted") from None
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise _invalid(path, f"{entry}: the key in {file} is neither RSA nor Ed25519; make one of these")
    if isinstance(private, RSAPrivateKey) and private.key_size < _RSA_BITS_MIN:
        problem = f"the key in {file} has {private.key_size} bits, and verifiers fail it (RFC 8301 §3.2)"
        raise _invalid(path, f"{entry}: {problem}; make one of 2048")
    if is_open:
        log.warning("POSTROOM_DKIM: every user of this machine can open the private key %s: chmod o= it", file)
    return private


def _invalid(path: str, problem: str) -> InvalidSettings:
    return InvalidSettings(f"POSTROOM_DKIM, {path}: {problem}")
