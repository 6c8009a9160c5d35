"""A claim that ran out before the end of its letter was sent: renewal stood still. Nothing is sent any more."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from house import Desk, desk
from postroom import LetterState, Receipt, RecipientState
from postroom.ledger import Claim
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import OFFERS, Session, say, scripted_relay
from postroom_worker.dev.server import wait_until
from postroom_worker.lease import Leases

CHUNKED = [*OFFERS, "CHUNKING"]


def run_out(here: Desk, receipt: Receipt) -> None:
    """Let the claim of a letter run out, whatever renews it, and another worker take it."""
    here.ledger.redis.zadd(here.ledger.keys.index_of(receipt.id, LetterState.SENDING), {receipt.id: 0})
    assert here.ledger.release_due(10)
    assert len(here.ledger.claim([receipt.id], "another")) == 1


@pytest.mark.parametrize("offers", [OFFERS, CHUNKED], ids=["data", "chunks"])
def test_a_letter_that_another_has_claimed_meanwhile_is_not_ended(offers: list[str], redis_url: str) -> None:
    def lose(session: Session) -> None:
        if session.recipients == ["lost@example.com"]:
            run_out(here, lost)
        say("250 1 octet" if "CHUNKING" in offers else "354 go ahead")(session)

    script = {"bdat" if "CHUNKING" in offers else "data": lose}
    with scripted_relay(script, {}, offers=offers) as relay, desk(redis_url, relay.url) as here:
        lost, behind = here.accept("lost@example.com"), here.accept("behind@example.com")
        first, second = deliver(here.office, [lost.id, behind.id])
        assert (first.state, first.is_ours) == ("stale", False)
        assert (second.state, second.is_ours) == ("sent", True)
        assert lost.status().state is LetterState.SENDING, "it is the other's"
        assert relay.accepted == {"behind@example.com": 1}
        assert relay.sessions[0].ended == "hung up", "only that keeps the relay from taking what has no end"


def test_who_was_accepted_before_the_claim_was_lost_is_not_mailed_again(redis_url: str, tmp_path: Path) -> None:
    def lose(session: Session) -> None:
        run_out(here, receipt)
        say("354 go ahead")(session)

    relays = tmp_path / "relays.toml"
    with scripted_relay({"data": [say("354 go ahead"), lose]}) as relay:
        relays.write_text(f'[relays.default]\nurl = "{relay.url}"\nlimits = {{ recipients_per_transaction = 1 }}\n')
        with desk(redis_url, relay.url, POSTROOM_RELAYS=str(relays)) as here:
            receipt = here.accept(["ann@example.com", "ben@example.com"])
            status = here.deliver(receipt)
        assert relay.accepted == {"ann@example.com": 1}
    assert status.recipients["ann@example.com"].state is RecipientState.ACCEPTED
    assert status.recipients["ben@example.com"].state is RecipientState.PENDING
    assert status.state is LetterState.DEFERRED, "the other's claim has ended, for it knew less"


def test_a_fault_of_ours_beside_a_renewal_ends_no_renewals(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    faults: list[str] = []

    def fail() -> None:
        if len(faults) < 2:  # the thread outlives this test
            faults.append("a fault of ours")
            raise ValueError(faults[-1])

    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("ann@example.com")
        [claim] = here.ledger.claim([receipt.id], "desk")
        assert isinstance(claim, Claim)
        index = here.ledger.keys.index_of(receipt.id, LetterState.SENDING)
        with Leases(here.ledger, 0.01, fail, fail).kept([claim], fail):
            wait_until(lambda: len(faults) == 2, "it has failed twice")
            here.ledger.redis.zadd(index, {receipt.id: 0})
            wait_until(lambda: here.ledger.redis.zscore(index, receipt.id), "the claim is renewed all the same")
    assert {each.levelno for each in caplog.records if "while leases were renewed" in each.message} == {logging.ERROR}
