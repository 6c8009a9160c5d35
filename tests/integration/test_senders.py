"""What senders suffer: lost answers, interruption, cancelling, forks and threads. No letter is half there.

Each sender reads back its own letters: on a connection that is one answer behind it would read somebody else's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from redis.connection import Connection

from cluster import all_keys
from house import House, NewHouse, house
from postroom import InvalidLetter, LedgerUnavailable, Letter, PartlySent, Postroom, aio, bell, sending
from postroom.broker import QUEUE
from postroom.ledger import views
from postroom.sending import new_letter
from postroom_worker.dev.chaos.proxy import Proxy, proxy
from postroom_worker.dev.server import Server

FOREVER = 1000
LONGER = 1.3
"""So much longer is the next one given after one that was cut off, or shorter: about half are, on any machine."""


@pytest.fixture
def here(new_house: NewHouse) -> House:
    """A house without a worker."""
    return new_house()


def letter(here: House, name: str) -> Letter:
    """A letter that is named in its subject."""
    return Letter("ann@example.com", "hi", subject=name, settings=here.postroom.settings)


def send_and_read_back(postroom: Postroom, name: str, times: int) -> None:
    """Send letters, and see that each is the one that was sent."""
    for number in range(times):
        subject = f"{name} {number}"
        receipt = postroom.send_letter("ann@example.com", "hi", subject=subject)
        assert receipt.status().subject == subject


def subjects(here: House) -> list[str]:
    """The subjects of all letters in the ledger; each is whole, and in one index."""
    found = [
        each
        for state, number in views.counts(here.ledger).items()
        if number
        for each in views.listing(here.ledger, state)
    ]
    assert (
        len(found) == len(all_keys(here.ledger.redis, "*:letter:*")) == len(all_keys(here.ledger.redis, "*:history:*"))
    )
    return sorted(each.subject for each in found)


# --- lost answers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def losing(redis_server: Server, empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[tuple[House, Proxy]]:
    """A house behind a proxy that loses answers."""
    redis_url = empty_redis()
    with proxy(redis_server.port) as between:
        url = between.url.removesuffix("/0") + "/" + redis_url.rpartition("/")[2]
        with house(tmp_path, url, POSTROOM_BROKER_URL=redis_url) as found:
            found.postroom.send_letter("ann@example.com", "hi", subject="before")
            yield found, between


def test_an_answer_that_is_lost_is_asked_for_again(losing: tuple[House, Proxy]) -> None:
    here, between = losing
    between.lose(2)
    here.postroom.send(letter(here, "after"))
    assert between.lost == 2
    assert subjects(here) == ["after", "before"]
    assert here.ledger.redis.llen(QUEUE) == 2


def test_in_doubt_the_error_says_so_and_sending_again_is_safe(losing: tuple[House, Proxy]) -> None:
    here, between = losing
    doubtful = letter(here, "doubtful")
    between.lose(FOREVER)
    with pytest.raises(
        LedgerUnavailable, match="may have been accepted, and sending it again under its id is safe"
    ) as caught:
        here.postroom.send(doubtful)
    assert caught.value.letter_id == doubtful.id
    between.lose(-FOREVER)
    assert subjects(here) == ["before", "doubtful"], "it was accepted indeed"
    assert here.postroom.send(doubtful).id == doubtful.id
    assert subjects(here) == ["before", "doubtful"]


def test_a_task_of_the_callers_whose_time_is_over_while_a_bell_rings_hears_of_it(
    here: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_channel: object) -> None:
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patch:
        patch.setattr(bell, "keep_client", interrupted)
        with pytest.raises(SoftTimeLimitExceeded):
            here.postroom.send(letter(here, "1"))
    assert subjects(here) == ["1"], "it is accepted, and the schedule rings for it"
    here.postroom.send(letter(here, "2"))
    assert here.bells_waiting() == 1


# --- senders that end early -------------------------------------------------------------------------------------------


def test_a_generator_that_fails_has_sent_what_it_gave_before(here: House) -> None:
    def letters() -> Iterator[Letter]:
        yield from (letter(here, f"{number:02}") for number in range(25))
        raise KeyError("no such customer")

    with pytest.raises(PartlySent) as caught:
        here.postroom.send_letters(letters(), chunk=10)
    assert isinstance(caught.value.__cause__, KeyError)
    assert subjects(here) == [f"{number:02}" for number in range(25)]
    assert [each.status().subject for each in caught.value.receipts] == subjects(here)
    assert here.bells_waiting() == 3


def test_a_letter_that_another_has_the_key_of_keeps_no_other_of_its_chunk(here: House) -> None:
    def keyed(name: str) -> Letter:
        return Letter("ann@example.com", "hi", subject=name, idempotency_key="k", settings=here.postroom.settings)

    here.postroom.send(keyed("first"))
    with pytest.raises(PartlySent) as caught:
        here.postroom.send_letters([letter(here, "1"), keyed("other"), letter(here, "2")])
    assert "another letter was sent under it" in str(caught.value.__cause__)
    assert subjects(here) == ["1", "2", "first"]
    assert [each.status().subject for each in caught.value.receipts] == ["1", "2"], "who sends them again sends twice"
    assert here.bells_waiting() == 2, "of the first, and of the chunk"


def test_letters_in_chunks_of_none_are_refused_and_not_dropped(here: House) -> None:
    with pytest.raises(InvalidLetter, match="chunk: it is 0; give 1 or more"):
        here.postroom.send_letters([letter(here, "1")], chunk=0)


def test_progress_is_told_after_each_chunk_and_letters_are_taken_one_chunk_ahead(here: House) -> None:
    taken, told = [], []

    def letters() -> Iterator[Letter]:
        for number in range(25):
            taken.append(number)
            yield letter(here, f"{number:02}")

    def progress(accepted: int) -> None:
        told.append((accepted, len(taken), len(subjects(here))))

    assert len(here.postroom.send_letters(letters(), chunk=10, progress=progress)) == 25
    assert told == [(10, 20, 10), (20, 25, 20), (25, 25, 25)]


def test_a_sender_that_is_interrupted_while_a_chunk_is_on_its_way_leaves_no_answer_to_the_next(here: House) -> None:
    def letters() -> Iterator[Letter]:
        yield from (letter(here, f"{number:02}") for number in range(10))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here.postroom.send_letters(letters(), chunk=10)
    send_and_read_back(here.postroom, "after", 3)
    sent = [each for each in subjects(here) if not each.startswith("after")]
    assert sent in ([], [f"{number:02}" for number in range(10)]), "to a cluster nothing is sent ahead"


def test_of_a_chunk_whose_answer_is_lost_all_letters_are_accepted_once(losing: tuple[House, Proxy]) -> None:
    here, between = losing
    between.lose(2)
    receipts = here.postroom.send_letters((letter(here, f"{number:02}") for number in range(25)), chunk=10)
    assert between.lost == 2
    assert [each.status().subject for each in receipts] == [f"{number:02}" for number in range(25)]
    assert subjects(here) == [*(f"{number:02}" for number in range(25)), "before"]


def test_of_no_letters_nothing_is_told(here: House) -> None:
    told: list[int] = []
    assert here.postroom.send_letters([], progress=told.append) == []
    assert told == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_sender_that_is_interrupted_leaves_no_half_letter_and_no_answer_to_the_next(here: House) -> None:
    assert ended_well(in_child(lambda: send_and_be_interrupted(here.postroom)))
    found = subjects(here)
    assert [each for each in found if each.startswith("after")] == sorted(f"after {number}" for number in range(20))


@pytest.mark.parametrize("letters", [1, 2], ids=["alone", "in a chunk"])
def test_an_answer_that_nobody_waited_for_is_not_the_next_ones(
    letters: int, here: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = here.postroom.send(letter(here, "before"))

    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    # The very moment that no timer hits: the question is on its way, and nobody reads the answer yet.
    monkeypatch.setattr(Connection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        here.ledger.accept_all([new_letter(letter(here, "cut off"), here.postroom.settings)[0]] * letters)
    assert before.status().subject == "before"


def send_and_be_interrupted(postroom: Postroom) -> None:
    """Send letters, and be interrupted at any moment, as by Ctrl-C; then send some in peace."""
    chance, interrupted, within_s = Random(1), 0, 0.01
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for number in range(100):
        send = partial(send_and_read_back, postroom, f"interrupted {number}", 1)
        is_cut = is_interrupted(send, chance.uniform(0.0001, within_s))
        interrupted += is_cut
        within_s *= LONGER if is_cut else 1 / LONGER
    assert interrupted > 10
    send_and_read_back(postroom, "after", 20)


def is_interrupted(act: Callable[[], None], after_s: float) -> bool:
    """Do something, and interrupt it; False when it was quicker."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, after_s)
            act()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


def test_a_call_that_is_cancelled_takes_no_answer_from_the_next(here: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "default", lambda: here.postroom)
    chance = Random(1)

    async def senders() -> int:
        cancelled, within_s = 0, 0.01
        for number in range(100):
            try:
                sent = aio.send_letter("ann@example.com", "hi", from_="bob@example.org", subject=f"cancelled {number}")
                await asyncio.wait_for(sent, chance.uniform(0, within_s))
                within_s /= LONGER
            except TimeoutError:
                cancelled += 1
                within_s *= LONGER
            receipt = await aio.send_letter("ann@example.com", "hi", from_="bob@example.org", subject=f"{number}")
            assert (await aio.status(receipt)).subject == f"{number}"
        return cancelled

    assert asyncio.run(senders()) > 10
    assert len(subjects(here)) <= 200


# --- senders side by side ---------------------------------------------------------------------------------------------


def test_threads_share_one_client(here: House) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: send_and_read_back(here.postroom, f"thread {name}", 10), range(8)))
    assert len(subjects(here)) == here.bells_waiting() == 80


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_that_were_forked_from_one_with_an_open_client_do_not_meet(here: House) -> None:
    send_and_read_back(here.postroom, "parent, before", 2)
    children = [in_child(partial(send_and_read_back, here.postroom, f"child {name}", 10)) for name in range(4)]
    send_and_read_back(here.postroom, "parent, after", 10)
    assert [ended_well(each) for each in children] == [True] * 4
    assert len(subjects(here)) == here.bells_waiting() == 52


def in_child(act: Callable[[], None]) -> int:
    """Do something in a forked child; returns its pid."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def ended_well(child: int) -> bool:
    """Wait for a child's end."""
    return os.waitpid(child, 0)[1] == 0
