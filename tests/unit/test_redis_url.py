"""URLs of several servers, and what Celery is told of Sentinels."""

from __future__ import annotations

import pytest

from postroom import InvalidSettings, Settings
from postroom.broker import celery_settings
from postroom.ledger import open_ledger
from postroom.redis_url import Servers, is_cluster, is_sentinel, read_servers


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    url = "rediss+cluster://ann:p%40ss@a:7000,b,[::1]:7002/3?ssl_ca_certs=/ca.pem"
    assert is_cluster(url)
    assert read_servers(url, "X") == Servers(
        addresses=(("a", 7000), ("b", 6379), ("::1", 7002)),
        database=3,
        is_tls=True,
        username="ann",
        password="p@ss",
        options={"ssl_ca_certs": "/ca.pem"},
    )


def test_sentinels_have_a_port_of_their_own() -> None:
    assert is_sentinel("sentinel://a")
    assert read_servers("sentinel://a,b:5", "X").addresses == (("a", 26379), ("b", 5))


@pytest.mark.parametrize("hosts", ["", "a:x", "a,,b", ":6379", "a:70000"])
def test_what_cannot_be_read_is_told_without_the_secret(hosts: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_REDIS_URL has to be like") as refused:
        open_ledger(Settings(redis_url=f"redis+cluster://:secret@{hosts}"))
    assert "secret" not in str(refused.value)


def test_sentinels_are_told_to_celery_as_it_spells_them() -> None:
    url = "sentinel://ann:p%40ss@a:1,[::1]:2/3?master=letters&sentinel_password=s"
    found = celery_settings(url, 5)
    assert found["broker_url"] == "sentinel://ann:p%40ss@a:1/3;sentinel://ann:p%40ss@[::1]:2/3"
    options = found["broker_transport_options"]
    assert (options["master_name"], options["sentinel_kwargs"]["password"]) == ("letters", "s")
    assert options["queue_order_strategy"] == "priority", "what any Redis is told"


def test_sentinels_are_told_which_primary_is_meant() -> None:
    with pytest.raises(InvalidSettings, match=r"\?master="):
        open_ledger(Settings(redis_url="sentinel://127.0.0.1:26379/0"))
    with pytest.raises(InvalidSettings, match=r"\?master="):
        celery_settings("sentinel://127.0.0.1:26379/0", 5)


@pytest.mark.parametrize(("redis_url", "broker_url"), [("redis+cluster://a", ""), ("redis://a", "rediss+cluster://a")])
def test_the_broker_cannot_be_a_cluster(redis_url: str, broker_url: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_BROKER_URL has to name one Redis"):
        _ = Settings(redis_url=redis_url, broker_url=broker_url).broker
