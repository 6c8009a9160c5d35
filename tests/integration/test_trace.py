"""``postroom trace`` and ``postroom relay test --trace``: what is said with a relay, for people to read."""

from __future__ import annotations

import base64
from threading import Thread

import pytest
from click.testing import CliRunner

from house import Desk, House, desk, ledger_at
from postroom.cli import main
from postroom.ledger import traces
from postroom_worker.dev.scripted_relay import OFFERS, scripted_relay
from postroom_worker.dev.server import wait_until

PASSWORD = "correct horse"


def traced(here: Desk, *, has_addresses: bool = False) -> None:
    """Ask for it, and let the desk know at once: a worker may take a second."""
    traces.ask(here.ledger, "default", 60_000, has_addresses=has_addresses)
    here.office.orders._asked_s = float("-inf")


def told(here: Desk) -> list[str]:
    return [line for _, line in traces.read_on(here.ledger, "default", "0-0", 1)[0]]


@pytest.mark.parametrize("offers", [(*OFFERS, "CHUNKING"), OFFERS, ("8BITMIME",)])
def test_while_somebody_traces_a_relay_everything_but_secrets_is_told(offers: tuple[str, ...], redis_url: str) -> None:
    with scripted_relay(offers=(*offers, "AUTH PLAIN"), credentials=("bob", PASSWORD)) as relay:
        url = relay.url.replace("smtp://", "smtp://bob:correct%20horse@")
        with desk(redis_url, url) as here:
            traced(here)
            for number in range(3):
                here.deliver(here.accept(f"ann-{number}@example.com", "the secret of all letters"))
            lines = told(here)
    everything = "\n".join(lines)
    assert lines[0] == "S: 220 relay.example.org ESMTP"
    assert "C: AUTH PLAIN ****" in lines
    assert sum(line.startswith("C: RCPT TO:<…@example.com>") for line in lines) == 3
    assert sum(line.endswith("octets of content)") for line in lines) >= 3
    for secret in ("the secret", "horse", "ann-", base64.b64encode(f"\0bob\0{PASSWORD}".encode()).decode()[:16]):
        assert secret not in everything


def test_a_session_that_is_kept_is_told_from_its_next_letter_on(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept("ann@example.com"))
        assert told(here) == []
        traced(here, has_addresses=True)
        here.deliver(here.accept("ann@example.com"))
        assert "C: RCPT TO:<ann@example.com>" in [line.partition(" NOTIFY")[0] for line in told(here)]
        assert len(relay.sessions) == 1


def test_nothing_is_told_when_nobody_traces_any_more(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        traced(here)
        here.deliver(here.accept("ann@example.com"))
        traces.end(here.ledger, "default")
        here.office.orders._asked_s = float("-inf")
        number = len(told(here))
        here.deliver(here.accept("ann@example.com"))
        assert len(told(here)) == number > 0


def test_the_command_prints_what_is_said_and_then_asks_for_it_no_longer(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:

        def tell() -> None:
            wait_until(lambda: traces.asked_for(here.ledger)[0] != [], "somebody traces")
            traces.tell(here.ledger, "default", "abcdef", ["C: NOOP"])

        def printed() -> str:
            worker = Thread(target=tell)
            worker.start()
            found = CliRunner().invoke(main, ["trace", "default", "--for", "1s"], env=ledger_at(redis_url))
            worker.join()
            assert found.exit_code == 0, found.output
            return found.stdout

        # Where this machine is slow, it may be over before it is told anything.
        assert wait_until(printed, "it is printed") == "abcd  C: NOOP\n"
        assert traces.asked_for(here.ledger)[0] == []


def test_a_worker_tells_what_it_says(shared: House) -> None:
    def is_told() -> bool:
        traces.ask(shared.ledger, "default", 10_000, has_addresses=False)
        shared.postroom.send_letter("traced@example.com", "hi").wait()
        return any(
            "RCPT TO:<…@example.com>" in line for _, line in traces.read_on(shared.ledger, "default", "0-0", 1)[0]
        )

    wait_until(is_told, "the worker has heard of it")
    traces.end(shared.ledger, "default")


def test_a_relay_is_tried_with_what_is_said_shown() -> None:
    with scripted_relay(offers=(*OFFERS, "AUTH PLAIN"), credentials=("bob", PASSWORD)) as relay:
        url = relay.url.replace("smtp://", "smtp://bob:correct%20horse@")
        found = CliRunner().invoke(main, ["relay", "test", "default", "--trace"], env={"POSTROOM_RELAY_URL": url})
    assert found.exit_code == 0, found.output
    assert "C: AUTH PLAIN ****\nS: 235" in found.stdout
    assert "C: QUIT" in found.stdout
    assert "horse" not in found.output
