"""A part of the cluster is away: a node dies, a slot is nobody's, or on its way. Only ``make test-cluster`` runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from redis.crc import key_slot

from brokers import over_redis
from cluster import Nodes
from house import House, house
from postroom import LedgerUnavailable, Letter, LetterState, PartlySent
from postroom.ledger import Ledger, views
from postroom.ledger.cluster import primaries
from postroom_worker.dev.server import wait_until

pytestmark = pytest.mark.skipif(
    os.environ.get("POSTROOM_TEST_LEDGER") != "cluster", reason="takes half a minute: make test-cluster"
)


@pytest.fixture
def here(empty_cluster: Callable[[], str], empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[House]:
    """A house whose ledger is on the cluster."""
    with house(tmp_path, empty_cluster(), over_redis(empty_redis())) as found:
        yield found


def letter(here: House, number: int) -> Letter:
    return Letter(f"a{number}@example.com", "hi", settings=here.postroom.settings)


@contextmanager
def _dead(ledger: Ledger, letter_id: str, nodes: Nodes) -> Iterator[None]:
    """The node of a letter is killed, and started again with what it had written."""
    address = _node(ledger, ledger.keys.letter(letter_id)).connection_pool.connection_kwargs
    server = nodes.server_of(f"{address['host']}:{address['port']}")
    server.kill()
    try:
        yield
    finally:
        server.restart()


@contextmanager
def _unserved(ledger: Ledger, letter_id: str, _: Nodes) -> Iterator[None]:
    """The slot of a letter is nobody's: CLUSTERDOWN."""
    key = ledger.keys.letter(letter_id)
    node = _node(ledger, key)
    node.execute_command("CLUSTER", "DELSLOTS", key_slot(key.encode()))
    try:
        yield
    finally:
        node.execute_command("CLUSTER", "ADDSLOTS", key_slot(key.encode()))


@contextmanager
def _half_moved(ledger: Ledger, letter_id: str, _: Nodes) -> Iterator[None]:
    """The slot of a letter is on its way to another node, key by key: TRYAGAIN, or ASK."""
    key = ledger.keys.letter(letter_id)
    source = _node(ledger, key)
    target: Any = next(each.redis for each in primaries(ledger.redis) if each.redis is not source)
    slot = key_slot(key.encode())
    source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.execute_command("CLUSTER", "MYID"))
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.execute_command("CLUSTER", "MYID"))
    try:
        yield
    finally:
        for each in (source, target):
            each.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")


def _node(ledger: Ledger, key: str) -> Any:
    redis: Any = ledger.redis
    return redis.get_redis_connection(redis.get_node_from_key(key))


FAULTS = [_dead, _unserved, _half_moved]


@pytest.mark.parametrize("fault", FAULTS)
def test_while_a_part_of_the_cluster_is_away_a_caller_is_told_soon_and_may_send_again(
    fault: Any, here: House, nodes: Nodes
) -> None:
    first, *others = [letter(here, each) for each in range(30)]
    here.postroom.send(first)
    with fault(here.ledger, others[0].id, nodes):
        began_s = monotonic()
        with pytest.raises(PartlySent) as told:
            here.postroom.send_letters(others)
        assert isinstance(told.value.__cause__, LedgerUnavailable)
        assert monotonic() - began_s < 60
    nodes.wait_until_whole()
    assert [each.id for each in here.postroom.send_letters(others)] == [each.id for each in others]
    assert views.counts(here.ledger)[LetterState.QUEUED] == 30


def _in_window(ledger: Ledger, letter_id: str) -> bool:
    return views.circumstances(ledger, letter_id).in_window


def test_letters_in_the_relays_hands_meanwhile_are_neither_lost_nor_sent_twice(here: House, nodes: Nodes) -> None:
    here.worker()
    for number, fault in enumerate(FAULTS):
        here.slow[f"a{number}@example.com"] = 0.3
        receipt = here.postroom.send(letter(here, number))
        wait_until(partial(_in_window, here.ledger, receipt.id), "its content is on the way")
        with fault(here.ledger, receipt.id, nodes):
            wait_until(partial(here.accepted, receipt), "the relay took it")
        nodes.wait_until_whole()
        here.wait_for(receipt, LetterState.SENT)
        assert list(here.accepted(receipt).values()) == [1]
