"""send_at: a letter waits for its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.utils import parsedate_to_datetime

from house import House, NewHouse
from postroom import LetterState
from postroom.ledger import views


def test_a_scheduled_letter_goes_out_at_its_time_and_not_before(shared: House) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=1)
    receipt = shared.postroom.send_letter("later@example.com", "hi", send_at=moment)
    assert receipt.wait().state is LetterState.SENT
    _, attempt = views.account(shared.ledger, receipt.id).history
    assert attempt["at_ms"] >= int(moment.timestamp() * 1000)
    assert shared.accepted(receipt) == {"later@example.com": 1}
    [octets] = shared.octets(receipt)
    written = parsedate_to_datetime(str(message_from_bytes(octets)["Date"]))
    assert written == moment.replace(microsecond=0), "its date is the day it is sent, not the day it was written"


def test_a_letter_scheduled_in_the_past_goes_out_at_once(shared: House) -> None:
    receipt = shared.postroom.send_letter("past@example.com", "hi", send_at=datetime.now(UTC) - timedelta(days=1))
    assert receipt.wait().state is LetterState.SENT


def test_no_bell_rings_for_a_scheduled_letter(new_house: NewHouse) -> None:
    here, moment = new_house(), datetime.now(UTC) + timedelta(days=1)
    receipt = here.postroom.send_letter("tomorrow@example.com", "hi", send_at=moment)
    assert here.bells_waiting() == 0
    assert here.ledger.release_due(100) == []
    status = receipt.status()
    assert status.state is LetterState.SCHEDULED
    assert here.events(receipt) == ["scheduled"]
    assert status.next_attempt_at is not None
    assert abs(status.next_attempt_at - moment.timestamp()) < 0.001
