"""A name server of a test's own, and a thread to run servers in."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

SILENCE, GARBAGE = "silence", "garbage"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[tuple[str, int]]:
    """Run `server` in a thread; give its address."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address  # type: ignore[misc]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class NameServer:
    """A name server that knows a few names by heart, and misbehaves about others."""

    zone: dict[str, dict[str, list[str]]]
    faults: dict[tuple[str, str], str | dns.rcode.Rcode] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, query: dns.message.Message) -> bytes | None:
        """Return the octets of the answer, None for silence."""
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        fault = self.faults.get((name, kind))
        if fault == SILENCE:
            return None
        if fault == GARBAGE:
            return query.id.to_bytes(2, "big") + b"\x81\x80garbage"
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if isinstance(fault, dns.rcode.Rcode):
            response.set_rcode(fault)
        elif name not in self.zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            self._add(response, name, kind)
        return response.to_wire()

    def _add(self, response: dns.message.Message, name: str, kind: str) -> None:
        while alias := self.zone.get(name, {}).get("CNAME"):
            response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
            if len(response.answer) > 20:
                return
        if records := self.zone.get(name, {}).get(kind):
            response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *records))


@contextmanager
def asking(name_server: NameServer) -> Iterator[dns.resolver.Resolver]:
    """Run a name server; give a resolver that asks it, and no other."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            octets, sock = self.request
            answer = name_server.answer(dns.message.from_wire(octets))
            if answer is not None:
                sock.sendto(answer, self.client_address)

    with serving(socketserver.UDPServer(("127.0.0.1", 0), Handler)) as address:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [address[0]], address[1]
        yield resolver
