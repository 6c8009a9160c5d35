"""Whether the signing keys are published: what the DNS has at ``selector._domainkey.domain`` (RFC 6376 §3.6)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator

import dns.exception
import dns.resolver
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postroom.errors import InvalidSettings
from postroom.finding import Finding, bad, ok, warn
from postroom.settings import Settings
from postroom_worker.signing_key import SigningKey, read_keys

_AREA = "dkim"


def findings(
    settings: Settings, resolver: dns.resolver.Resolver | None = None, timeout_s: float = 5.0
) -> Iterator[Finding]:
    """Yield for each signing key whether verifiers find it.

    Args:
        settings: name the file of keys.
        resolver: whom to ask; by default the name servers that the system uses.
        timeout_s: seconds to wait for the answer about a key.
    """
    try:
        keys = read_keys(settings.dkim)
    except InvalidSettings as error:
        yield bad(_AREA, str(error), "until then no letter is sent")
        return
    if not keys:
        yield warn(_AREA, "letters are not signed here", "set POSTROOM_DKIM, unless the relay signs them")
    for key in keys:
        yield _finding(key, resolver, timeout_s)


def record(key: SigningKey) -> str:
    """Return what the DNS should have at the key's name."""
    public = key.private.public_key()
    if isinstance(key.private, RSAPrivateKey):
        return f"v=DKIM1; k=rsa; p={_base64(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))}"
    return f"v=DKIM1; k=ed25519; p={_base64(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}"


def _finding(key: SigningKey, resolver: dns.resolver.Resolver | None, timeout_s: float) -> Finding:
    name = f"{key.selector}._domainkey.{key.domain}"
    remedy = f"publish the TXT record {record(key)}"
    try:
        # A default resolver is made here: it fails where the system names no server.
        answers = (resolver or dns.resolver.Resolver()).resolve(name, "TXT", lifetime=timeout_s, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return bad(_AREA, f"{name} is not published: signatures fail", remedy)
    except dns.exception.DNSException as error:
        return warn(_AREA, f"the DNS did not answer about {name} ({type(error).__name__})", "try again")
    found = [_tags(b"".join(answer.strings).decode("ascii", "replace")) for answer in answers]
    if len(found) > 1:
        return bad(_AREA, f"{name} has {len(found)} records: verifiers take any, or none", "leave one")
    (tags,) = found
    if not tags.get("p"):
        return bad(_AREA, f"{name} is revoked, or no key: signatures fail", remedy)
    if _octets(tags["p"]) != _octets(_tags(record(key))["p"]):
        return bad(_AREA, f"{name} has another key than we sign with: signatures fail", remedy)
    if "y" in tags.get("t", "").split(":"):
        return warn(_AREA, f"{name} is published for a test only (t=y): verifiers may ignore it", "take t=y away")
    return ok(_AREA, f"{name} is published")


def _tags(text: str) -> dict[str, str]:
    """The tags of a record (RFC 6376 §3.2)."""
    pairs = (each.partition("=") for each in text.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()


def _octets(base64: str) -> bytes:
    try:
        return b64decode(base64)
    except ValueError:  # no base64, or not even ASCII
        return b""
