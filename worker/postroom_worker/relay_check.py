"""Whether the relays let us in from this machine: name, connection, certificate and its end, credentials."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from postroom import clock
from postroom.errors import InvalidSettings
from postroom.finding import Finding, bad, ok, warn
from postroom.settings import Settings
from postroom_worker.outcome import Phase, Silence
from postroom_worker.relay import Relay, Security
from postroom_worker.relay_file import read_relays
from postroom_worker.smtp.connecting import connect
from postroom_worker.smtp.session import Manner, Session
from postroom_worker.smtp.wire import SessionFailed
from postroom_worker.smtp.within import within

_AREA = "relay"
_DAY_S = 86_400
_ENDS_SOON_DAYS = 21
_REMEDIES: Mapping[Phase, str] = {
    Phase.CONNECT: "is it an SMTP server, and does it serve this machine's address?",
    Phase.EHLO: "set POSTROOM_EHLO_NAME, or the relay's ehlo_name, to this machine's name in the DNS",
    Phase.STARTTLS: "have its certificate mended, or set POSTROOM_CA_FILE to that of its authority",
    Phase.AUTH: "set its user and password, or token, anew; then postroom resume --relay",
}


def findings(settings: Settings, timeout_s: float = 5.0) -> Iterator[Finding]:
    """Yield for each relay whether it lets us in; nothing is sent.

    Args:
        settings: name the relays.
        timeout_s: seconds to wait for the name server, for a connection to each address, and for each reply.
    """
    try:
        relays = read_relays(settings)
        manner = Manner.of(settings)
    except InvalidSettings as error:
        yield bad(_AREA, str(error), "until then no letter is sent")
        return
    hurried = replace(manner, connect_s=timeout_s, timeouts_s=dict.fromkeys(manner.timeouts_s, timeout_s))
    for relay in relays:
        yield from _of_program(relay) if relay.program else _of_host(relay, hurried)


def _of_program(relay: Relay) -> Iterator[Finding]:
    path = relay.program[0]
    if Path(path).is_file() and os.access(path, os.X_OK):
        yield ok(_AREA, f"{relay.name}: {path} can be run")
    else:
        yield bad(_AREA, f"{relay.name}: {path} cannot be run here", "install it, or name another in its URL")


def _of_host(relay: Relay, manner: Manner) -> Iterator[Finding]:
    try:
        resolve = partial(socket.getaddrinfo, relay.host, relay.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(found[4][0]) for found in within(manner.connect_s, resolve)))
    except OSError as error:
        yield bad(_AREA, f"{relay.name}: {relay.host} has no address ({error})", "look at its name, and at the DNS")
        return
    answering = []
    for address in addresses:
        problem = _problem(address, relay.port, manner.connect_s)
        if problem:
            remedy = "is the port right, and does a firewall let us out?"
            yield warn(_AREA, f"{relay.name}: {address} port {relay.port} does not answer ({problem})", remedy)
        else:
            answering.append(address)
    if answering:
        where = "" if relay.host in answering else f" at {', '.join(answering)}"
        yield ok(_AREA, f"{relay.name}: {relay.host}{where} answers on port {relay.port}")
        yield from _of_session(relay, manner)
    else:
        yield bad(_AREA, f"{relay.name}: no address of {relay.host} answers", "its letters wait, or go to another")


def _problem(address: str, port: int, timeout_s: float) -> str:
    """Why a connection cannot be had; empty when it can."""
    try:
        connect(address, port, timeout_s).close()
    except OSError as error:
        return str(error)
    return ""


def _of_session(relay: Relay, manner: Manner) -> Iterator[Finding]:
    try:
        with Session(relay, manner) as session:
            ends_s = session.certificate_ends_s
    except SessionFailed as failed:
        yield bad(_AREA, f"{relay.name} does not let us in: {failed.answer}", _remedy(failed))
        return
    if relay.security is Security.NONE:
        yield ok(_AREA, f"{relay.name}: in the clear, as its settings say")
    elif ends_s is not None:
        yield _of_certificate(relay, int((ends_s - clock.wall_ms() / 1000) // _DAY_S))
    yield ok(_AREA, f"{relay.name} lets us in, {f'as {relay.user}' if relay.user else 'without credentials'}")


def _remedy(failed: SessionFailed) -> str:
    if failed.answer.met is Silence.NOT_OFFERED and failed.answer.phase is Phase.STARTTLS:
        return "use the port where it offers TLS (587, or 465 with smtps://); or smtp+plain:// if nobody can listen"
    return _REMEDIES.get(failed.answer.phase, "look at the log of the relay")


def _of_certificate(relay: Relay, left_days: int) -> Finding:
    told = f"{relay.name}: its certificate is good for {left_days} more days"
    if left_days < _ENDS_SOON_DAYS:
        return warn(_AREA, told, "have it renewed: when it ends, no letter goes out")
    return ok(_AREA, told)
