"""What Celery is told of a broker: each gets the options it knows, and one declaration of each queue."""

from __future__ import annotations

import pytest

from postroom import Postroom, Settings
from postroom.bell import publisher
from postroom.broker import BULK_QUEUE, QUEUE, celery_settings, check
from postroom.errors import InvalidSettings


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("redis://h/0", None),
        ("rediss://h/0", None),
        ("redis+socket:///run/redis.sock?virtual_host=0", None),
        ("amqp://h//", {"x-queue-type": "quorum"}),
        ("amqps://h//", {"x-queue-type": "quorum"}),
        ("amqp://a//;amqp://b//", {"x-queue-type": "quorum"}),
    ],
)
def test_both_queues_are_quorum_queues_on_rabbitmq_and_only_there(url: str, arguments: object) -> None:
    found = {queue.name: queue.queue_arguments for queue in celery_settings(url, 5)["task_queues"]}
    assert found == {QUEUE: arguments, BULK_QUEUE: arguments}


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h/0", "rediss://u:p@h:1/0", "redis+socket:///run/redis.sock?virtual_host=0"),
        *("sentinel://a:1,b:2/0?master=letters", "amqp://h//", "amqps://h//", "amqp://a//;amqp://b//"),
    ],
)
def test_a_url_that_celery_can_read_is_taken(url: str) -> None:
    check(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1:6379", "redis://127.0.0.1:port/0", "sentinel://a:1/0"])
def test_a_url_that_celery_cannot_read_is_told_before_anything_is_accepted(url: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_BROKER_URL"):
        Postroom(Settings(broker_url=url))


def test_each_broker_gets_the_options_that_it_knows() -> None:
    assert celery_settings("redis://h/0", 5)["broker_transport_options"]["queue_order_strategy"] == "priority"
    assert celery_settings("amqp://h//", 5)["broker_transport_options"] == {"read_timeout": 10, "write_timeout": 10}


def test_the_hosts_name_is_verified_over_tls() -> None:
    assert celery_settings("amqps://h//", 5)["broker_use_ssl"] == {"server_hostname": None}
    assert "broker_use_ssl" not in celery_settings("amqp://h//", 5)


def test_who_rings_waits_for_the_confirm() -> None:
    assert publisher("amqp://h//", 5).conf.broker_transport_options["confirm_publish"]
