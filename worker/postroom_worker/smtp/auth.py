"""AUTH (RFC 4954): says who we are. Text is UTF-8 (RFC 4616), and no error carries a secret."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Collection

Respond = Callable[[bytes], bytes]
"""What to answer to a challenge."""


def plain(user: str, password: str) -> Respond:
    """PLAIN (RFC 4616)."""
    return lambda _challenge: b"\0" + user.encode() + b"\0" + password.encode()


def login(user: str, password: str) -> Respond:
    """LOGIN: asks for the user, then for the password, whatever words it uses."""
    answers = iter((user.encode(), password.encode()))
    return lambda _challenge: next(answers, b"")


def cram_md5(user: str, password: str) -> Respond:
    """CRAM-MD5 (RFC 2195)."""
    return lambda challenge: user.encode() + b" " + hmac.new(password.encode(), challenge, "md5").hexdigest().encode()


_MECHANISMS = {"PLAIN": plain, "LOGIN": login, "CRAM-MD5": cram_md5}


def choose(offered: Collection[str], *, encrypted: bool) -> str | None:
    """Return the mechanism to use: the simplest under TLS, the one that hides the password without."""
    order = ("PLAIN", "LOGIN", "CRAM-MD5") if encrypted else ("CRAM-MD5", "PLAIN", "LOGIN")
    return next((mechanism for mechanism in order if mechanism in offered), None)


def responder(mechanism: str, user: str, password: str) -> Respond:
    """Return what answers the challenges of a mechanism."""
    return _MECHANISMS[mechanism](user, password)


def initial(mechanism: str, respond: Respond) -> str:
    """Return the first command: PLAIN says all at once (RFC 4954 §4)."""
    return f"AUTH {mechanism} {encoded(respond(b''))}" if mechanism == "PLAIN" else f"AUTH {mechanism}"


def encoded(response: bytes) -> str:
    """A response as it goes over the wire."""
    return base64.b64encode(response).decode("ascii")


def challenge_of(text: str) -> bytes:
    """The challenge in a 334 reply; some relays send none that can be decoded, and want an answer all the same."""
    try:
        return base64.b64decode(text.encode(), validate=True)
    except ValueError:
        return b""
