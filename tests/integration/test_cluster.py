"""The ledger on a Redis Cluster of three nodes, the bells in a Redis beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import MovedError

from brokers import over_redis
from cluster import Nodes
from house import House, desk, house
from postroom import InvalidSettings, LedgerUnavailable, Letter, LetterState, Postroom, Settings
from postroom.cli import main
from postroom.ledger import Claim, Ledger, views
from postroom.ledger.cluster import Primary, primaries
from postroom.ledger.damaged import damaged
from postroom.ledger.keys import Keys
from postroom.sending import new_letter
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import scripted_relay
from postroom_worker.dev.server import Server, wait_until

EmptyCluster = Callable[[], str]
NOBODY = "smtp://127.0.0.1:1"
LATER_MS = 4_000_000_000_000


@pytest.fixture
def here(empty_cluster: EmptyCluster, empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[House]:
    """A house whose ledger is on the cluster."""
    with house(tmp_path, empty_cluster(), over_redis(empty_redis())) as found:
        yield found


def letter(here: House, number: int, **keywords: Any) -> Letter:
    return Letter(f"a{number}@example.com", "hi", settings=here.postroom.settings, **keywords)


def letters(here: House, number: int) -> list[Letter]:
    return [letter(here, each) for each in range(number)]


def run(here: House, *arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={**here.environment}, catch_exceptions=False)


def test_a_hundred_letters_are_delivered_once_from_all_partitions_and_nodes(empty_cluster: EmptyCluster) -> None:
    with scripted_relay() as relay, desk(empty_cluster(), relay.url) as by_hand:
        settings, ledger = by_hand.office.settings, by_hand.ledger
        many = [Letter(f"a{each}@example.com", "hi", id=f"L{each}", settings=settings) for each in range(100)]
        assert ledger.accept_all([new_letter(each, settings)[0] for each in many]) == ["accepted"] * 100
        assert {ledger.keys.partition(each.id) for each in many} == set(range(16))
        on_nodes = [len(each.redis.keys("*:letter:*")) for each in primaries(ledger.redis)]
        assert len(on_nodes) == 3
        assert sum(on_nodes) == 100
        assert min(on_nodes) > 0
        deliver(by_hand.office, [each.id for each in many])
        assert relay.accepted == {f"a{each}@example.com": 1 for each in range(100)}
        # Each run of a script had the keys of one slot; all of what one worker holds is told by the lists of all.
        assert views.counts(ledger)[LetterState.SENT] == 100
        assert len(list(views.scan(ledger, LetterState.SENT))) == 100


def test_commands_see_letters_of_all_partitions_in_one_order(here: House) -> None:
    later = [letter(here, each, send_at=LATER_MS + 1000 * each) for each in range(20)]
    scheduled = [each.id for each in here.postroom.send_letters(later)]
    found = partial(views.listing, here.ledger, LetterState.SCHEDULED)
    assert [status.id for status in found()] == scheduled
    assert [status.id for status in found(latest_first=True)] == scheduled[::-1]
    listed = run(here, "list", "--state", "scheduled").stdout
    assert sorted(scheduled, key=listed.index) == scheduled
    assert "a0@example.com" in run(here, "show", scheduled[0]).stdout
    assert "20" in run(here, "stats").stdout
    assert scheduled[0] in run(here, "tail", "--no-follow", "-n", "100").stdout
    examined = run(here, "doctor", "--timeout", "0.1").stdout
    assert all(f"{node.name}: append-only file" in examined for node in primaries(here.ledger.redis))
    assert run(here, "hold", scheduled[0], "--reason", "to be looked at", "--yes").exit_code == 0
    assert views.status(here.ledger, scheduled[0]).state is LetterState.HELD


def test_a_letter_with_large_parts_and_limits_goes_its_way(empty_cluster: EmptyCluster) -> None:
    limited = {"POSTROOM_CONTENTS_OVER": "10"}
    with scripted_relay() as relay, desk(empty_cluster(), relay.url, **limited) as by_hand:
        receipt = by_hand.accept("ann@example.com", "a text that is longer than ten octets")
        assert by_hand.deliver(receipt).state is LetterState.SENT


def test_a_letter_is_on_the_disk_of_its_node_when_it_is_accepted(empty_cluster: EmptyCluster) -> None:
    with desk(empty_cluster(), NOBODY, POSTROOM_DURABILITY="synced") as by_hand:
        before = [_asked(each) for each in primaries(by_hand.ledger.redis)]
        settings = by_hand.office.settings
        many = [Letter(f"a{each}@example.com", "hi", settings=settings) for each in range(50)]
        assert by_hand.ledger.accept_all([new_letter(each, settings)[0] for each in many]) == ["accepted"] * 50
        after = [_asked(each) for each in primaries(by_hand.ledger.redis)]
        assert all(late > early for early, late in zip(before, after, strict=True))


def test_so_is_what_it_keeps_beside_it_on_another_node(empty_cluster: EmptyCluster) -> None:
    with desk(empty_cluster(), NOBODY, POSTROOM_DURABILITY="synced") as by_hand:
        nodes = primaries(by_hand.ledger.redis)
        before = sum(map(_asked, nodes))
        by_hand.ledger.contents.keep("L1", {"0" * 64: b"octets"})
        assert sum(map(_asked, nodes)) > before


def _asked(node: Primary) -> int:
    """How often a node was asked whether what was written is on its disk."""
    commands: Any = node.redis.info("commandstats")
    return int(commands.get("cmdstat_waitaof", {}).get("calls", 0))


def test_a_ledger_is_not_read_with_another_number_of_partitions(empty_cluster: EmptyCluster) -> None:
    url = empty_cluster()
    with desk(url, NOBODY) as first, desk(url, NOBODY, POSTROOM_PARTITIONS="8") as second:
        first.accept("ann@example.com")
        with pytest.raises(LedgerUnavailable, match="16 partitions, and POSTROOM_PARTITIONS says 8"):
            second.accept("ben@example.com")


def test_nor_is_one_of_a_single_partition(empty_redis: Callable[[], str]) -> None:
    url = empty_redis()
    with desk(url, NOBODY) as first, desk(url, NOBODY, POSTROOM_PARTITIONS="16") as second:
        first.accept("ann@example.com")
        with pytest.raises(LedgerUnavailable, match="has 1 partitions"):
            second.accept("ben@example.com")


def test_a_key_of_everybody_that_was_overwritten_is_put_aside_on_its_own_node(empty_cluster: EmptyCluster) -> None:
    with desk(empty_cluster(), NOBODY) as by_hand:
        keys = [getattr(Keys, name)() for name in ("audit", "kept", "relays", "suspensions", "traces", "workers")]
        for key in keys:
            by_hand.ledger.redis.set(key, "somebody else's")
        by_hand.ledger.scripts.put_aside(keys)
        assert [by_hand.ledger.redis.get(Keys.put_aside(key)) for key in keys] == [b"somebody else's"] * len(keys)
        assert damaged(by_hand.ledger.redis) == keys


def test_the_broker_cannot_be_the_cluster(empty_cluster: EmptyCluster) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_BROKER_URL has to name one Redis"):
        Postroom(Settings(redis_url=empty_cluster()))


def test_who_takes_a_cluster_for_one_redis_or_one_redis_for_a_cluster_is_told(
    nodes: Nodes, empty_redis: Callable[[], str]
) -> None:
    elsewhere = next(server for server in nodes.servers if not _has(server, "postroom:partitions"))
    with desk(elsewhere.url, NOBODY) as by_hand, pytest.raises(LedgerUnavailable, match=r"redis\+cluster://"):
        by_hand.accept("ann@example.com")
    wrong = empty_redis().replace("redis://", "redis+cluster://")
    with desk(wrong, NOBODY) as by_hand, pytest.raises(LedgerUnavailable, match="is no cluster"):
        by_hand.accept("ann@example.com")


def _has(server: Server, key: str) -> bool:
    """Whether a key is this node's."""
    with Redis(port=server.port) as redis:
        try:
            redis.get(key)
            return True
        except MovedError:
            return False


def test_slots_that_move_to_another_node_under_a_client_lose_nothing(here: House) -> None:
    begun = here.postroom.send_letters(letters(here, 20))
    nodes: list[Any] = [each.redis for each in primaries(here.ledger.redis)]
    source, target, _ = nodes
    slots = {key_slot(here.ledger.keys.letter(each.id).encode()) for each in begun}
    own = [slot for slot in slots if _node_of_slot(here.ledger, slot) is source]
    for slot in own:
        arguments = ("SLOTSRANGE", slot, slot, "NODE", target.execute_command("CLUSTER", "MYID"))
        source.execute_command("CLUSTER", "MIGRATESLOTS", *arguments)
        wait_until(partial(_is_gone, source, slot), "the slot has moved")
    assert views.counts(here.ledger)[LetterState.QUEUED] == 20
    assert {status.id for status in views.scan(here.ledger, LetterState.QUEUED)} == {each.id for each in begun}
    here.postroom.send_letters(letters(here, 20))
    claims = here.ledger.claim([each.id for each in begun], "a worker")
    assert all(isinstance(each, Claim) for each in claims)


def _node_of_slot(ledger: Ledger, slot: int) -> Any:
    redis: Any = ledger.redis
    return redis.get_redis_connection(redis.nodes_manager.get_node_from_slot(slot))


def _is_gone(node: Any, slot: int) -> bool:
    try:
        return bool(node.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0)
    except Exception:
        return False
