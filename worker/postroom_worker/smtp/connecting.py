"""Connecting: from a name to a socket, within one bound of time for the resolver and all addresses together."""

from __future__ import annotations

import socket
from functools import partial

from postroom import clock
from postroom_worker.smtp.within import within


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to the first of a host's addresses that answers (RFC 5321 §5.1).

    Args:
        host: a name in A-labels, or an address. It is resolved anew each time.
        port: its port.
        timeout_s: for everything.

    Raises:
        OSError: the name has no address, or none answers in time; of several, the last one's error.
    """
    deadline = clock.steady_s() + timeout_s
    found = within(timeout_s, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    failed: OSError = OSError("it has no address that could be tried in time")
    for place, (family, kind, protocol, _, address) in enumerate(found):
        left_s = deadline - clock.steady_s()
        if left_s <= 0:
            break
        # An address that swallows everything must leave their time to those behind it.
        share_s = left_s / (len(found) - place)
        try:
            return _connected(socket.socket(family, kind, protocol), address, share_s)
        except OSError as error:
            failed = error
    raise failed


def _connected(sock: socket.socket, address: object, timeout_s: float) -> socket.socket:
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)  # type: ignore[arg-type]
    except OSError:
        sock.close()
        raise
    return sock
