"""AUTH (RFC 4954): says who we are. Text is UTF-8 (RFC 4616), and no error carries a secret."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Collection

from postroom_worker.access_token import token_source
from postroom_worker.relay import Relay
from postroom_worker.smtp.within import within

Respond = Callable[[bytes], bytes]
"""What to answer to a challenge."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1


class NoToken(Exception):
    """No access token was to be had; it says why, without a word of what the function said."""


def plain(relay: Relay, password: str) -> Respond:
    """PLAIN (RFC 4616)."""
    return lambda _challenge: b"\0" + relay.user.encode() + b"\0" + password.encode()


def login(relay: Relay, password: str) -> Respond:
    """LOGIN: asks for the user, then for the password, whatever words it uses."""
    answers = iter((relay.user.encode(), password.encode()))
    return lambda _challenge: next(answers, b"")


def cram_md5(relay: Relay, password: str) -> Respond:
    """CRAM-MD5 (RFC 2195)."""
    key, user = password.encode(), relay.user.encode()
    return lambda challenge: user + b" " + hmac.new(key, challenge, "md5").hexdigest().encode()


def oauthbearer(relay: Relay, token: str) -> Respond:
    """OAUTHBEARER (RFC 7628 §3.1); a challenge tells of an error, and is answered with one octet (§3.2.3)."""
    user = relay.user.replace("=", "=3D").replace(",", "=2C")
    first = f"n,a={user},\x01host={relay.host}\x01port={relay.port}\x01auth=Bearer {token}\x01\x01"
    answers = iter((first.encode(),))
    return lambda _challenge: next(answers, b"\x01")


def xoauth2(relay: Relay, token: str) -> Respond:
    """XOAUTH2, its forerunner; a challenge tells of an error, and is answered with an empty line."""
    answers = iter((f"user={relay.user}\x01auth=Bearer {token}\x01\x01".encode(),))
    return lambda _challenge: next(answers, b"")


_MECHANISMS = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "OAUTHBEARER": oauthbearer,
    "XOAUTH2": xoauth2,
}
_INITIAL = ("PLAIN", "OAUTHBEARER", "XOAUTH2")


def choose(offered: Collection[str], *, encrypted: bool, by_token: bool = False) -> str | None:
    """Return the mechanism to use: the simplest under TLS, the one that hides the password without.

    Args:
        offered: by the relay, in capitals.
        encrypted: whether the session is.
        by_token: whether there is an access token in place of a password.
    """
    order: tuple[str, ...]
    if by_token:
        order = ("OAUTHBEARER", "XOAUTH2")
    elif encrypted:
        order = ("PLAIN", "LOGIN", "CRAM-MD5")
    else:
        order = ("CRAM-MD5", "PLAIN", "LOGIN")
    return next((mechanism for mechanism in order if mechanism in offered), None)


def secret_of(relay: Relay, timeout_s: float) -> str:
    """Return the password; or an access token, asked for anew, for it is good for an hour or so.

    Args:
        relay: whose.
        timeout_s: how long the function that gives tokens may take.

    Raises:
        NoToken: it gives none.
    """
    if not relay.token:
        return relay.password
    try:
        token = within(timeout_s, lambda: token_source(relay.token)(relay.user))
    except Exception as error:
        # Its text may show what the function was working with.
        raise NoToken(f"{relay.token} failed ({type(error).__name__})") from None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NoToken(f"what {relay.token} returned is no access token (RFC 6750 §2.1)")
    return token


def responder(mechanism: str, relay: Relay, secret: str) -> Respond:
    """Return what answers the challenges of a mechanism."""
    return _MECHANISMS[mechanism](relay, secret)


def initial(mechanism: str, respond: Respond) -> str:
    """Return the first command; most mechanisms say all at once (RFC 4954 §4)."""
    return f"AUTH {mechanism} {encoded(respond(b''))}" if mechanism in _INITIAL else f"AUTH {mechanism}"


def encoded(response: bytes) -> str:
    """A response as it goes over the wire."""
    return base64.b64encode(response).decode("ascii")


def challenge_of(text: str) -> bytes:
    """The challenge in a 334 reply; some relays send none that can be decoded, and want an answer all the same."""
    try:
        return base64.b64decode(text.encode(), validate=True)
    except ValueError:
        return b""
