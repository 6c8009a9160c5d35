"""fork() with sessions open: the child has sessions of its own, and ends none of its parent's."""

from __future__ import annotations

import os

import pytest

from house import but_for_rset, desk
from postroom import LetterState
from postroom_worker.dev.scripted_relay import Session, scripted_relay
from postroom_worker.dev.server import wait_until

LETTER = ["MAIL", "RCPT", "DATA"]


def verbs(session: Session) -> list[str]:
    return but_for_rset([command.partition(" ")[0].upper() for command in session.commands])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_speaks_in_no_session_of_its_parent(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept("parent@example.com")).state is LetterState.SENT
        receipt = here.accept("child@example.com")
        child = os.fork()
        if child == 0:
            try:
                here.deliver(receipt)
                here.office.pool.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert receipt.status().state is LetterState.SENT
        assert here.deliver(here.accept("again@example.com")).state is LetterState.SENT
        wait_until(lambda: relay.sessions[1].ended, "the child's session has ended")
        of_parent, of_child = relay.sessions
        assert [verbs(of_parent), of_parent.ended] == [["EHLO", *LETTER, *LETTER], ""]
        assert [verbs(of_child), of_child.ended] == [["EHLO", *LETTER, "QUIT"], "quit"]
