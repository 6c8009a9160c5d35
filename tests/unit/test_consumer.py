"""What the worker does when its connection to the broker is lost."""

from __future__ import annotations

import pytest
from kombu import Connection

from postroom_worker.consumer import _end_poll


@pytest.mark.parametrize("broker", ["amqp://127.0.0.1:1//", "redis://127.0.0.1:1/0"])
def test_cleaning_up_after_a_lost_connection_asks_for_no_new_one(broker: str) -> None:
    with Connection(broker, connect_timeout=1) as connection:
        _end_poll(connection)
        assert not connection.connected
