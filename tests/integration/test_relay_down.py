"""A relay that is down: letters wait, lose no attempt, and go out once it is back."""

from __future__ import annotations

from house import NewHouse
from postroom import LetterState, RecipientState
from postroom_worker.dev.capture import capture
from postroom_worker.dev.server import free_port, wait_until


def test_letters_wait_for_a_relay_that_is_down_and_lose_no_attempt(new_house: NewHouse) -> None:
    port = free_port()
    here = new_house(POSTROOM_RELAY_URL=f"smtp://127.0.0.1:{port}", POSTROOM_PAUSES_MAX="1000")
    here.worker()
    receipts = [here.postroom.send_letter(f"down-{number}@example.com", "hi") for number in range(20)]
    wait_until(lambda: all("attempt" in here.events(each) for each in receipts[:1]), "the relay was found down")
    wait_until(lambda: all({"attempt", "waits"} & {*here.events(each)} for each in receipts), "all of them have waited")
    for status in (each.status() for each in receipts):
        assert status.attempts == 0
        assert [each.attempts for each in status.recipients.values()] == [0]
    with capture(here.folder / "mail-later", port=port) as relay:
        assert {each.wait().state for each in receipts} == {LetterState.SENT}
        assert set(relay.accepted.values()) == {1}
        assert len(relay.accepted) == len(receipts)
    for status in (each.status() for each in receipts):
        assert {(each.state, each.attempts) for each in status.recipients.values()} == {(RecipientState.ACCEPTED, 1)}


def test_a_relay_that_is_down_is_left_alone_by_all_workers(new_house: NewHouse) -> None:
    here = new_house(
        POSTROOM_RELAY_URL=f"smtp://127.0.0.1:{free_port()}", POSTROOM_PAUSE_FIRST_S="60", POSTROOM_PAUSE_MAX_S="60"
    )
    here.worker("one")
    here.worker("two")
    receipts = [here.postroom.send_letter(f"alone-{number}@example.com", "hi") for number in range(20)]
    wait_until(lambda: all(each.status().state is LetterState.DEFERRED for each in receipts), "all of them wait")
    pause = here.ledger.relays.knock("default", "", 0, 1)
    assert pause.state == "open"
    assert pause.why.startswith("no-connection at connect")
    tried = sum(here.events(each).count("attempt") for each in receipts)
    assert tried <= 4, "each of the four processes can have been on its way when the first found it down"
