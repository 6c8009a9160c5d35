"""Accepted is durable: who called `send_letter` may be killed as soon as it has returned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from house import NewHouse
from postroom import LetterState, Receipt

CALLER = """
import os, signal
from postroom import send_letter
print(send_letter("ann@example.com", "hi").id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_letter_of_a_caller_that_is_killed_right_after_is_delivered_once(new_house: NewHouse) -> None:
    here = new_house()
    caller = subprocess.run(
        [sys.executable, "-c", CALLER], env=os.environ | here.environment, capture_output=True, text=True
    )
    assert caller.returncode == -signal.SIGKILL, caller.stderr
    receipt = Receipt(caller.stdout.strip(), here.ledger)
    assert receipt.status().state is LetterState.QUEUED
    assert here.bells_waiting() == 1
    here.worker()
    here.wait_for(receipt, LetterState.SENT)
    assert here.accepted(receipt) == {"ann@example.com": 1}
