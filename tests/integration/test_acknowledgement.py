"""What a worker takes over Redis: a letter is kept there until it is accepted, a bell that is not heard is put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Connection
from redis import Redis

from postroom.bell import ACCEPT, DELIVER
from postroom.broker import QUEUE, celery_settings
from postroom_worker.acknowledgement import acknowledge_letters_alone


class Desk:
    """A worker's channel, and what it took."""

    def __init__(self, url: str) -> None:
        self.redis = Redis.from_url(url, decode_responses=True)
        self.connection = Connection(url)
        self.channel: Any = self.connection.default_channel
        acknowledge_letters_alone(self.channel)
        self.queue = celery_settings(url, 5)["task_queues"][0].bind(self.channel)
        self.queue.declare()

    def put(self, task: str, text: str) -> None:
        producer = self.connection.Producer()
        producer.publish(text, exchange=self.queue.exchange, routing_key=QUEUE, headers={"task": task})

    def take(self) -> Any:
        return self.queue.get()

    def waiting(self) -> int:
        return int(self.redis.llen(QUEUE))

    def kept(self) -> int:
        return int(self.redis.hlen("unacked"))


@pytest.fixture
def desk(empty_redis: Callable[[], str]) -> Iterator[Desk]:
    desk = Desk(empty_redis())
    yield desk
    desk.connection.release()


def test_a_bell_in_hand_is_nowhere_in_redis(desk: Desk) -> None:
    desk.put(DELIVER, "letter")
    message = desk.take()
    assert (desk.waiting(), desk.kept()) == (0, 0)
    message.ack()
    assert (desk.waiting(), desk.kept()) == (0, 0)


def test_a_letter_in_hand_is_kept_until_it_is_acknowledged(desk: Desk) -> None:
    desk.put(ACCEPT, "letter")
    message = desk.take()
    assert (desk.waiting(), desk.kept()) == (0, 1)
    message.ack()
    assert (desk.waiting(), desk.kept()) == (0, 0)


@pytest.mark.parametrize("task", [DELIVER, ACCEPT])
def test_what_is_put_back_is_in_its_queue_again(desk: Desk, task: str) -> None:
    desk.put(task, "hi")
    desk.take().reject(requeue=True)
    assert (desk.waiting(), desk.kept()) == (1, 0)
    assert desk.take().payload == "hi"


@pytest.mark.parametrize("task", [DELIVER, ACCEPT])
def test_a_worker_that_stops_puts_back_what_it_has_not_done(desk: Desk, task: str) -> None:
    for text in ("done", "taken", "waits"):
        desk.put(task, text)
    desk.take().ack()
    desk.take()
    desk.channel.close()
    assert (desk.waiting(), desk.kept()) == (2, 0)
