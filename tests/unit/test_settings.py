"""Settings, as the environment gives them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from postroom import InvalidSettings, Settings
from postroom.settings import table, variable


def test_without_variables_the_defaults_hold() -> None:
    assert Settings.from_environment({}) == Settings()


def test_every_setting_can_be_set() -> None:
    values = {"str": "text", "int": "7", "float": "0.5", "bool": "True"}
    found = Settings.from_environment({variable(each.name): values[str(each.type)] for each in fields(Settings)})
    assert {str(getattr(found, each.name)) for each in fields(Settings)} == set(values.values())


def test_a_variable_is_named_like_its_setting() -> None:
    assert variable("retry_first_s") == "POSTROOM_RETRY_FIRST_S"
    assert variable("from_") == "POSTROOM_FROM"


@pytest.mark.parametrize("value", ["", "   ", "\n"])
def test_an_empty_variable_leaves_the_default(value: str) -> None:
    assert Settings.from_environment({"POSTROOM_RETRY_FIRST_S": value, "POSTROOM_RELAY_URL": value}) == Settings()


def test_a_newline_behind_a_secret_is_no_part_of_it() -> None:
    assert Settings.from_environment({"POSTROOM_RELAY_URL": " smtps://a:b@c\n"}).relay_url == "smtps://a:b@c"


@pytest.mark.parametrize("value", ["soon", "1,5", "-1", "nan", "inf", "-0.1", "1e999", "SECRET"])
def test_a_number_that_is_none_is_refused_by_name_and_not_shown(value: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_LEASE_S") as refused:
        Settings.from_environment({"POSTROOM_LEASE_S": value})
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("value", ["1.5", "x", "-1"])
def test_a_count_is_a_whole_number(value: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_DEATHS_MAX"):
        Settings.from_environment({"POSTROOM_DEATHS_MAX": value})


@pytest.mark.parametrize("name", ["POSTROOM_SESSIONS", "POSTROOM_SESSION_LETTERS"])
def test_what_would_send_nothing_for_ever_is_no_setting(name: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{name} has to be a number of 1 or more"):
        Settings.from_environment({name: "0"})


@pytest.mark.parametrize(
    ("redis", "broker", "found"),
    [
        ("redis://h/0", "", "redis://h/0"),
        ("redis://h/0", "amqp://b//", "amqp://b//"),
        ("unix:///run/redis.sock", "", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=3", "", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("rediss://h/2", "", "rediss://h/2"),
    ],
)
def test_the_broker_is_the_ledgers_redis_unless_it_is_set(redis: str, broker: str, found: str) -> None:
    assert Settings(redis_url=redis, broker_url=broker).broker == found


def test_no_repr_shows_a_password() -> None:
    shown = repr(Settings(redis_url="redis://:hush@h", broker_url="amqp://u:hush@h", relay_url="smtps://u:hush@h"))
    assert "hush" not in shown
    assert "retry_first_s=60.0" in shown


def test_the_table_of_the_docs_has_every_setting() -> None:
    rows = table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [variable(each.name) for each in fields(Settings)]
    assert all(each.metadata["doc"].endswith(".") for each in fields(Settings))


@pytest.mark.parametrize(("text", "value"), [("1", True), ("yes", True), ("ON", True), ("0", False), ("off", False)])
def test_a_setting_that_is_true_or_false_is_read_as_people_write_it(text: str, value: bool) -> None:
    assert Settings.from_environment({"POSTROOM_DOMAIN_LITERALS": text}).domain_literals is value


def test_what_is_neither_true_nor_false_is_refused_by_name() -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_DOMAIN_LITERALS has to be true or false"):
        Settings.from_environment({"POSTROOM_DOMAIN_LITERALS": "maybe"})
