"""What a letter says, and whom it is for, is told to the relay alone: no log, and no account, repeats it."""

from __future__ import annotations

import logging
import re

import pytest

from cluster import all_keys
from house import Desk, desk
from postroom import LetterState, Receipt
from postroom.ledger import views
from postroom_worker.dev.scripted_relay import Reaction, Session, both, close, octets, say, scripted_relay

ANNA = "anna.geheim@example.com"
SECRETS = ("geheim", "Z2VoZWlt")
"""In the text, the subject, an attachment and the address; and as base64 begins it."""


def letter(here: Desk, times: int = 5000) -> Receipt:
    return here.accept(
        ANNA,
        "geheim: the text",
        subject="geheim: the subject",
        attachments=[("geheim.txt", b"geheim: in a small file"), ("large.txt", b"geheim: in a large file " * times)],
    )


def repeat(session: Session) -> None:
    """Repeat whom it is for, as many relays do."""
    say(f"550 5.1.1 <{ANNA}>: Recipient address rejected (in reply to {session.commands[-1]})")(session)


FATES: dict[str, dict[str, Reaction]] = {
    "sent": {},
    "refused, and repeated": {"rcpt": repeat},
    "refused for its content": {"content": repeat},
    "deferred": {"rcpt": say(f"451 4.7.1 <{ANNA}> is greylisted")},
    "uncertain": {"content": close},
    "turned away": {"mail": both(say(f"421 4.3.2 too much for {ANNA}"), close)},
    "garbage": {"rcpt": octets(f"<{ANNA}> what?\r\n".encode())},
    "not its parameter": {"mail": say("555 5.5.4 what?")},
}


@pytest.mark.parametrize("fate", FATES)
def test_no_log_tells_what_a_letter_says_or_whom_it_is_for(
    fate: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_relay(FATES[fate]) as relay, desk(redis_url, relay.url) as here:
        receipt = letter(here)
        here.deliver(receipt)
        told = caplog.text + repr(here.office)
        history = str(views.account(here.ledger, receipt.id).history)
    assert not [secret for secret in SECRETS if secret in told]
    assert not re.search("geheim: ", history), "the account repeats the relay's words, never the letter's"


FORGED = "ERROR letter sent to nobody"


@pytest.mark.parametrize("between", ["\r", "\x0b", "\x0c", "\x1b[2J", "\x85", "\u2028", "\u202e"], ids=ascii)
@pytest.mark.parametrize("reply", ["554 5.7.1 no", "421 4.3.2 no", "550 5.1.1 no"])
def test_no_reply_begins_a_line_of_its_own_in_a_log(
    reply: str, between: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = say(f"{reply}{between}{FORGED}")
    with scripted_relay({"mail": said}) as relay, desk(redis_url, relay.url, POSTROOM_REFUSALS_MAX="1") as here:
        reason = here.deliver(here.accept("ann@example.com")).recipients["ann@example.com"].reply
    told = [*(each.getMessage() for each in caplog.records), reason]
    assert any(FORGED in each for each in told)
    assert all(each.isprintable() for each in told)


def test_a_fault_of_ours_tells_nothing_either(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        composed, read = (letter(here, times=6000) for _ in range(2))  # of contents that nobody has read before
        for key in all_keys(here.ledger.redis, "*{contents-*"):
            here.ledger.redis.delete(key)
        here.ledger.redis.hset(here.ledger.keys.letter(read.id), "letter", b'{"geheim": ')
        assert here.deliver(composed).state is LetterState.DEFERRED
        here.deliver(read)
        assert "Traceback" in caplog.text
        assert not [secret for secret in SECRETS if secret in caplog.text]


def test_what_was_sent_leaves_none_of_its_text_in_the_ledger(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = letter(here)
        redis = here.ledger.redis
        assert all_keys(redis, "*{contents-*")
        assert here.deliver(receipt).state is LetterState.SENT
        fields = repr(redis.hgetall(here.ledger.keys.letter(receipt.id)))
        assert "geheim: the text" not in fields
        assert "geheim: in a" not in fields
        assert "Z2VoZWlt" not in fields
        assert not all_keys(redis, "*{contents-*")
