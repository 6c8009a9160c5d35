"""A campaign never delays a password reset: letters sent alone go before its chunks, and before its retries."""

from __future__ import annotations

import json
from threading import Event

from brokers import OverRedis
from house import House, NewHouse, desk
from postroom import Letter, LetterState
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.ledger import views
from postroom.sending import new_letter
from postroom_worker.delivery import deliver
from postroom_worker.dev.capture import greylisted
from postroom_worker.dev.server import free_port, wait_until
from postroom_worker.pace import LETTERS_A_LANE, TURN_S
from postroom_worker.timer import longest_waits_ms, tick
from postroom_worker.turn import stand_in_line

CHUNK = 10
PATIENCE_S = 60


def campaign(here: House, letters: int) -> list[Letter]:
    """The letters of a campaign."""
    settings = here.postroom.settings
    return [Letter(f"reader-{number:03}@example.com", "news", settings=settings) for number in range(letters)]


def order(here: House) -> list[str]:
    """The recipients in the order in which the relay took their letters."""
    lines = (here.relay.folder / "envelopes.jsonl").read_text().splitlines()
    return [json.loads(line)["recipients"][0] for line in lines]


def test_letters_sent_alone_go_before_all_chunks_of_a_campaign_but_the_one_in_hand(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_SESSIONS="1")
    are_queued = Event()
    here.answers["reader-000@example.com"] = lambda _: None if are_queued.wait(PATIENCE_S) else "451 too late"
    here.postroom.send_letters(campaign(here, 10 * CHUNK), chunk=CHUNK)
    here.worker("worker", "--concurrency=1")
    wait_until(lambda: views.counts(here.ledger)[LetterState.SENDING], "its first chunk is under way")
    singles = [f"password-{number}@example.com" for number in range(3)]
    for each in singles:
        here.postroom.send_letter(each, "Your password")
    are_queued.set()
    wait_until(lambda: views.counts(here.ledger)[LetterState.SENT] == 10 * CHUNK + 3, "all are sent")
    # RabbitMQ serves both queues in turn: at most a chunk goes before each letter sent alone.
    chunks = 1 if isinstance(here.broker, OverRedis) else len(singles)
    assert set(singles) < set(order(here)[: chunks * CHUNK + len(singles)])


def test_a_chunk_that_takes_its_time_lets_letters_sent_alone_go_before_the_rest_of_it(new_house: NewHouse) -> None:
    here = new_house(POSTROOM_SESSIONS="1")
    letters = campaign(here, 5 * LETTERS_A_LANE)
    are_queued = Event()
    here.answers["reader-000@example.com"] = lambda _: None if are_queued.wait(PATIENCE_S) else "451 too late"
    here.slow |= {each.envelope.recipients[0]: TURN_S / LETTERS_A_LANE for each in letters}
    here.postroom.send_letters(letters, chunk=len(letters))
    here.worker("worker", "--concurrency=1")
    wait_until(lambda: views.counts(here.ledger)[LetterState.SENDING], "its first letters are under way")
    assert views.counts(here.ledger)[LetterState.QUEUED] == len(letters) - LETTERS_A_LANE
    here.postroom.send_letter("password@example.com", "Your password")
    are_queued.set()
    wait_until(lambda: views.counts(here.ledger)[LetterState.SENT] == len(letters) + 1, "all are sent")
    assert order(here)[LETTERS_A_LANE] == "password@example.com"


def test_a_chunk_whose_rest_cannot_stand_in_line_is_rung_for_by_the_schedule(redis_url: str) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1", POSTROOM_BROKER_URL=f"redis://127.0.0.1:{free_port()}/0") as by_hand:
        receipts = [by_hand.accept("ann@example.com") for _ in range(3)]
        stand_in_line(by_hand.office, [each.id for each in receipts], BULK_QUEUE)
        due = by_hand.ledger.release_due(10)
        assert {each.letter_id for each in due} == {each.id for each in receipts}


def test_the_retries_of_a_campaign_stand_behind_letters_sent_alone(new_house: NewHouse) -> None:
    here = new_house()
    settings, ledger, bells = here.postroom.settings, here.ledger, here.postroom.bells
    letters = campaign(here, 2 * CHUNK)
    for each in letters:
        here.answers[each.envelope.recipients[0]] = greylisted(1)
    with desk(here.environment["POSTROOM_REDIS_URL"], here.relay.url) as by_hand:
        ledger.accept_all([new_letter(each, settings, BULK_QUEUE)[0] for each in letters])
        delivered = deliver(by_hand.office, [each.id for each in letters])
        assert {each.state for each in delivered} == {LetterState.DEFERRED}
        here.postroom.send_letter("password@example.com", "Your password")

        def all_rung() -> bool:
            tick(ledger, bells, 0, longest_waits_ms(settings), "by-hand")
            return views.counts(ledger)[LetterState.QUEUED] == len(letters) + 1

        wait_until(all_rung, "the retries are due")
        assert bells.waiting()[QUEUE] == 1
        assert bells.waiting()[BULK_QUEUE] >= 1
