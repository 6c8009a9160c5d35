"""Checking an address by DNS and by VRFY, against a name server and relays of our own."""

from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest
from aiosmtpd.controller import Controller

from name_server import GARBAGE, SILENCE, NameServer, asking, serving
from postroom.address_check import Answer, Verdict, check_at_relay, check_domain
from postroom.errors import InvalidLetter

NOBODY = "192.0.2.1"


def test_a_verdict_is_not_taken_for_true_or_false() -> None:
    with pytest.raises(TypeError, match=r"compare its \.answer"):
        bool(Verdict(Answer.NO, "no such domain"))


# --- DNS --------------------------------------------------------------------------------------------------------------


Ask = Callable[..., Verdict]


@pytest.fixture
def name_server() -> NameServer:
    return NameServer(
        zone={
            "one.test": {"MX": ["10 mx.one.test."]},
            "mx.one.test": {"A": [NOBODY]},
            "six.test": {"MX": ["10 mx.six.test."]},
            "mx.six.test": {"AAAA": ["2001:db8::1"]},
            "two.test": {"MX": ["20 second.two.test.", "10 first.two.test."]},
            "first.two.test": {"A": [NOBODY]},
            "second.two.test": {"A": [NOBODY]},
            "half.test": {"MX": ["10 gone.test.", "20 mx.one.test."]},
            "bare.test": {"A": [NOBODY]},
            "baresix.test": {"AAAA": ["2001:db8::1"]},
            "null.test": {"MX": ["0 ."], "A": [NOBODY]},
            "mixed.test": {"MX": ["0 .", "10 mx.one.test."]},
            "text.test": {"TXT": ["hello"]},
            "dead.test": {"MX": ["10 gone.test.", "20 text.test."], "A": [NOBODY]},
            "number.test": {"MX": ["10 192.0.2.1."]},
            "alias.test": {"CNAME": ["one.test."]},
            "loop.test": {"CNAME": ["loop.test."]},
            "xn--fa-hia.de": {"MX": ["10 mx.one.test."]},
            "localhost": {"A": ["127.0.0.1"]},
            "waiting.test": {"MX": ["10 silent.test."]},
            "partly.test": {"MX": ["10 silent.test.", "20 mx.one.test."]},
            "fails.test": {"MX": ["10 failing.test."]},
            "failing.test": {"AAAA": ["2001:db8::1"]},
            "unsure.test": {"MX": ["10 gone.test.", "20 servfail.test."]},
        },
        faults={
            ("servfail.test", "MX"): dns.rcode.SERVFAIL,
            ("servfail.test", "A"): dns.rcode.SERVFAIL,
            ("servfail.test", "AAAA"): dns.rcode.SERVFAIL,
            ("refused.test", "MX"): dns.rcode.REFUSED,
            ("garbage.test", "MX"): GARBAGE,
            ("silent.test", "MX"): SILENCE,
            ("silent.test", "A"): SILENCE,
            ("silent.test", "AAAA"): SILENCE,
            ("failing.test", "A"): dns.rcode.SERVFAIL,
        },
    )


@pytest.fixture
def ask(name_server: NameServer) -> Iterator[Ask]:
    """Give `check_domain` as it asks the name server."""

    with asking(name_server) as resolver:

        def ask(domain: str, timeout_s: float = 30.0) -> Verdict:
            return check_domain(domain, resolver=resolver, timeout_s=timeout_s)

        yield ask


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        ("one.test", ("mx.one.test",)),
        ("ONE.Test", ("mx.one.test",)),
        ("six.test", ("mx.six.test",)),
        ("two.test", ("first.two.test", "second.two.test")),
        ("half.test", ("gone.test", "mx.one.test")),
        ("mixed.test", ("mx.one.test",)),
        ("bare.test", ("bare.test",)),
        ("baresix.test", ("baresix.test",)),
        ("alias.test", ("mx.one.test",)),
        ("localhost", ("localhost",)),
        ("faß.de", ("mx.one.test",)),
        ("fails.test", ("failing.test",)),
    ],
)
def test_yes_if_a_host_that_takes_the_domains_mail_has_an_address(
    ask: Ask, domain: str, hosts: tuple[str, ...]
) -> None:
    verdict = ask(domain)
    assert (verdict.answer, verdict.hosts) == (Answer.YES, hosts), verdict.reason


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("gone.test", "there is no domain gone.test"),
        ("null.test", "null.test takes no mail: it has a null MX"),
        ("text.test", "no host that takes mail for text.test has an address"),
        ("dead.test", "no host that takes mail for dead.test has an address"),
        ("number.test", "no host that takes mail for number.test has an address"),
    ],
)
def test_no_if_the_dns_says_so(ask: Ask, domain: str, reason: str) -> None:
    verdict = ask(domain)
    assert (verdict.answer, verdict.reason) == (Answer.NO, reason)


@pytest.mark.parametrize(
    "domain",
    ["servfail.test", "refused.test", "garbage.test", "silent.test", "waiting.test", "unsure.test"],
)
def test_unknown_if_a_question_that_matters_was_not_answered(ask: Ask, domain: str) -> None:
    start = time.perf_counter()
    verdict = ask(domain, timeout_s=0.5)
    assert verdict.answer is Answer.UNKNOWN
    assert "did not answer" in verdict.reason
    assert time.perf_counter() - start < 30


def test_the_time_limit_is_for_all_questions_together(ask: Ask, name_server: NameServer) -> None:
    name_server.zone["many.test"] = {"MX": [f"{number} silent{number}.test." for number in range(100)]}
    name_server.faults |= {(f"silent{number}.test", "A"): SILENCE for number in range(100)}
    start = time.perf_counter()
    assert ask("many.test", timeout_s=0.5).answer is Answer.UNKNOWN
    assert time.perf_counter() - start < 30


def test_the_domain_is_asked_for_as_it_is_sent_and_only_as_a_whole_name(ask: Ask, name_server: NameServer) -> None:
    ask("faß.de")
    assert name_server.asked[0] == ("xn--fa-hia.de", "MX")
    name_server.asked.clear()
    ask("gone")
    assert name_server.asked == [("gone", "MX")]


def test_a_null_mx_is_final_even_where_there_is_an_address(ask: Ask, name_server: NameServer) -> None:
    ask("null.test")
    assert name_server.asked == [("null.test", "MX")]


def test_a_loop_of_aliases_ends_and_is_not_taken_for_yes(ask: Ask) -> None:
    assert ask("loop.test", timeout_s=1).answer is not Answer.YES


@pytest.mark.parametrize("domain", ["", "a b", "x.test.", "[127.0.0.1]", "1.2.3.4", "x" * 300, "x\r\n.test"])
def test_what_is_no_domain_is_not_asked_for(ask: Ask, name_server: NameServer, domain: str) -> None:
    with pytest.raises(InvalidLetter):
        ask(domain)
    assert name_server.asked == []


def test_without_dnspython_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['dns'] = None\n"
        "from postroom.address_check import check_domain, check_at_relay, DnspythonMissing\n"
        "try: check_domain('x.test')\n"
        "except DnspythonMissing as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "the DNS cannot be asked without dnspython: pip install 'postroom[dns]'\n"


# --- VRFY -------------------------------------------------------------------------------------------------------------


class Clerk:
    """A handler of aiosmtpd that answers VRFY from a list."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies
        self.asked: list[str] = []

    async def handle_VRFY(self, server: Any, session: Any, envelope: Any, address: str) -> str:  # noqa: N802
        self.asked.append(address)
        return self.replies[address]


class AnyPort(Controller):
    """A controller that lets the system choose the port, and then knows it."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def relay(replies: dict[str, str], **options: Any) -> Iterator[tuple[Clerk, int]]:
    """Run a real SMTP server that answers VRFY with `replies`; give its handler and its port."""
    clerk = Clerk(replies)
    controller = AnyPort(clerk, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield clerk, controller.port
    finally:
        controller.stop()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("250 Jane <jane@x.test>", Answer.YES),
        ("250 2.1.5 <jane@x.test>", Answer.YES),
        ("251 User not local; will forward to <jane@y.test>", Answer.YES),
        ("252 2.5.2 Cannot VRFY user", Answer.UNKNOWN),
        ("550 5.1.1 no such user", Answer.NO),
        ("550 5.1.10 null MX", Answer.NO),
        ("550-5.1.1 no such\r\n550 5.1.1 user", Answer.NO),
        ("551 5.1.6 moved to <jane@y.test>", Answer.NO),
        ("553 5.1.3 mailbox name not allowed", Answer.NO),
        ("553 5.1.4 ambiguous", Answer.UNKNOWN),
        ("553 User ambiguous", Answer.UNKNOWN),
        ("550 5.7.1 VRFY is not for you", Answer.UNKNOWN),
        ("550 5.2.2 mailbox full", Answer.UNKNOWN),
        ("554 5.7.1 access denied", Answer.UNKNOWN),
        ("450 4.1.1 greylisted", Answer.UNKNOWN),
        ("502 5.5.1 VRFY command is disabled", Answer.UNKNOWN),
        ("530 5.7.0 authenticate first", Answer.UNKNOWN),
        ("354 go ahead", Answer.UNKNOWN),
        ("220 late", Answer.UNKNOWN),
    ],
)
def test_the_relays_reply_is_yes_or_no_only_if_it_speaks_of_the_mailbox(reply: str, answer: Answer) -> None:
    with relay({"jane@x.test": reply}) as (clerk, port):
        verdict = check_at_relay("Jane <jane@x.test>", "127.0.0.1", port)
    assert (verdict.answer, clerk.asked) == (answer, ["jane@x.test"]), verdict.reason
    assert reply[:3] in verdict.reason


@pytest.mark.parametrize(
    ("postmaster", "answer"),
    [
        ("250 postmaster", Answer.NO),
        ("252 Cannot VRFY user", Answer.NO),
        ("550 no such user", Answer.UNKNOWN),
        ("550 5.1.1 no such user", Answer.UNKNOWN),
        ("421 enough", Answer.UNKNOWN),
    ],
)
@pytest.mark.parametrize("refusal", ["550 no such user", "551 not here", "553 not allowed", "550 5.1.0 rejected"])
def test_a_no_without_its_reason_counts_only_if_the_postmaster_is_not_refused_too(
    refusal: str, postmaster: str, answer: Answer
) -> None:
    with relay({"jane@x.test": refusal, "postmaster@x.test": postmaster}) as (clerk, port):
        assert check_at_relay("jane@x.test", "127.0.0.1", port).answer is answer
    assert clerk.asked == ["jane@x.test", "postmaster@x.test"]


def test_an_international_address_is_asked_for_only_where_smtputf8_is_offered() -> None:
    with relay({"用户@例え.test": "250 ok"}, enable_SMTPUTF8=True) as (_, port):
        assert check_at_relay("用户@例え.test", "127.0.0.1", port).answer is Answer.YES
    with relay({}, enable_SMTPUTF8=False) as (clerk, port):
        verdict = check_at_relay("用户@例え.test", "127.0.0.1", port)
    assert (verdict.answer, clerk.asked) == (Answer.UNKNOWN, [])
    assert "SMTPUTF8" in verdict.reason


def test_an_international_domain_is_asked_for_in_its_ascii_form() -> None:
    with relay({"a@xn--fa-hia.de": "250 ok"}) as (_, port):
        assert check_at_relay("a@faß.de", "127.0.0.1", port).answer is Answer.YES


@pytest.mark.parametrize("address", ["a@x.test:2525", "a@x.test\r\nRSET", "a b@x.test", "a"])
def test_what_is_no_address_is_not_asked_for(address: str) -> None:
    with relay({}) as (clerk, port), pytest.raises(InvalidLetter):
        check_at_relay(address, "127.0.0.1", port)
    assert clerk.asked == []


def test_nobody_listening_is_unknown() -> None:
    with relay({}) as (_, port):
        pass
    assert check_at_relay("a@x.test", "127.0.0.1", port).answer is Answer.UNKNOWN


@contextmanager
def script(*replies: bytes, pause_s: float = 0.0) -> Iterator[tuple[list[bytes], int]]:
    """Run a server that says the replies in turn, whatever it hears; give what it heard, and its port.

    It says them octet by octet if `pause_s` is given, with that many seconds between.
    """
    heard: list[bytes] = []
    over = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                for reply in replies:
                    self._say(reply)
                    heard.append(self.rfile.readline())
            except OSError:
                return

        def _say(self, reply: bytes) -> None:
            if not pause_s:
                self.wfile.write(reply)
                return
            for octet in reply:
                self.wfile.write(bytes([octet]))
                if over.wait(pause_s):
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with serving(Server(("127.0.0.1", 0), Handler)) as address:
        try:
            yield heard, address[1]
        finally:
            over.set()


def test_a_relay_of_the_old_school_is_greeted_with_helo() -> None:
    with script(b"220 hi\r\n", b"500 what?\r\n", b"250 hi\r\n", b"250 jane\r\n", b"221 bye\r\n") as (heard, port):
        assert check_at_relay("jane@x.test", "127.0.0.1", port).answer is Answer.YES
    assert heard[:4] == [
        b"EHLO [127.0.0.1]\r\n",
        b"HELO [127.0.0.1]\r\n",
        b"VRFY jane@x.test\r\n",
        b"QUIT\r\n",
    ]


HI = (b"220 hi\r\n", b"250 hi\r\n")


MALFORMED, TOO_MUCH, OUT_OF_STEP = "malformed", "more than it was asked", "out of step"


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ((b"554 no service\r\n",), "554 'no service'"),
        ((b"421 later\r\n",), "421 'later'"),
        ((b"220 hi\r\n", b"500 what?\r\n", b"500 what?\r\n"), "does not greet back"),
        ((*HI, b"250-jane\r\n550 joe\r\n"), MALFORMED),
        ((*HI, b"250-jane\r\n251 joe\r\n"), MALFORMED),
        ((*HI, "２５０ jane\r\n".encode()), MALFORMED),
        ((*HI, b"+250 jane\r\n"), MALFORMED),
        ((*HI, b"25 jane\r\n"), MALFORMED),
        ((*HI, b"2500 jane\r\n"), MALFORMED),
        ((*HI, b"250\tjane\r\n"), MALFORMED),
        ((*HI, b"999 jane\r\n"), MALFORMED),
        ((*HI, b"\r\n"), MALFORMED),
        ((*HI, b"250 jane\r\n550 left\r\n"), TOO_MUCH),
        ((b"220 hi\r\n550 left\r\n", b"250 hi\r\n", b"250 jane\r\n"), TOO_MUCH),
        ((b"220 hi\r\n", b"550 left\r\n", b"250 hi\r\n", b"250 hi\r\n", b"250 jane\r\n"), OUT_OF_STEP),
        ((*HI, b"250 " + b"x" * 1_000_000 + b"\r\n"), "does not stop talking"),
        ((*HI, b"250-x\r\n" * 100_000), "does not stop talking"),
        ((b"220-x\r\n" * 1_000_000,), "does not stop talking"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_relay_that_talks_nonsense_is_unknown(replies: tuple[bytes, ...], reason: str) -> None:
    with script(*replies) as (_, port):
        verdict = check_at_relay("jane@x.test", "127.0.0.1", port)
    assert verdict.answer is Answer.UNKNOWN
    assert reason in verdict.reason


@pytest.mark.parametrize(
    "replies", [(b"",), (b"220 hi\r\n", b""), (*HI, b""), (*HI, b"250"), (*HI, b"250 jane"), (*HI, b"250-jane\r\n")]
)
def test_a_relay_that_does_not_finish_its_reply_is_given_no_longer_than_the_limit(replies: tuple[bytes, ...]) -> None:
    with script(*replies) as (_, port):
        start = time.perf_counter()
        verdict = check_at_relay("jane@x.test", "127.0.0.1", port, timeout_s=0.3)
        assert time.perf_counter() - start < 30
    assert (verdict.answer, verdict.reason) == (Answer.UNKNOWN, "127.0.0.1 did not answer (timed out)")


def test_a_relay_that_ends_its_lines_with_a_bare_lf_is_understood() -> None:
    with script(b"220 hi\n", b"250 hi\n", b"250 jane\n", b"221 bye\n") as (_, port):
        assert check_at_relay("jane@x.test", "127.0.0.1", port).answer is Answer.YES


def test_a_relay_that_hangs_up_at_quit_was_still_understood() -> None:
    with script(*HI, b"250\r\n") as (_, port):
        assert check_at_relay("jane@x.test", "127.0.0.1", port).answer is Answer.YES


def test_a_relay_that_speaks_an_octet_at_a_time_is_given_no_longer_than_the_limit() -> None:
    with script(b"220 " + b"x" * 1000, pause_s=0.05) as (_, port):
        start = time.perf_counter()
        assert check_at_relay("jane@x.test", "127.0.0.1", port, timeout_s=0.3).answer is Answer.UNKNOWN
        assert time.perf_counter() - start < 30


def test_what_the_relay_says_is_shown_short_and_with_its_controls_written_out() -> None:
    with script(*HI, b"252 \x1b[2J\xff" + b"x" * 1000 + b"\r\n") as (_, port):
        verdict = check_at_relay("jane@x.test", "127.0.0.1", port)
    assert verdict.answer is Answer.UNKNOWN
    assert verdict.reason.isprintable()
    assert len(verdict.reason) < 300
