"""Which relays may take a letter, and in which order they are tried."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from postroom_worker.relay import Relay
from postroom_worker.routing import route

ANY = Relay.from_url("smtps://any.example", "any")
SPARE = Relay.from_url("smtps://spare.example", "spare")
OURS = replace(ANY, name="ours", senders=("example.org", "example.net"))
NEWS = replace(ANY, name="news", tags=("news", "offers"))
OUR_NEWS = replace(ANY, name="our-news", senders=("example.org",), tags=("news",))
ALL = (ANY, OURS, NEWS, SPARE, OUR_NEWS)


def names(name: str | None = None, sender: str = "example.com", tags: tuple[str, ...] = ()) -> list[str]:
    return [each.name for each in route(ALL, name=name, sender_domain=sender, tags=tags)]


def test_a_letter_that_nothing_is_particular_about_goes_by_the_order_of_the_file() -> None:
    assert names() == ["any", "spare"]


def test_what_is_for_such_letters_in_particular_goes_first() -> None:
    assert names(sender="example.net") == ["ours", "any", "spare"]
    assert names(tags=("spring", "offers")) == ["news", "any", "spare"]
    assert names(sender="example.org", tags=("news",)) == ["our-news", "ours", "news", "any", "spare"]


def test_a_relay_that_is_for_others_is_never_tried() -> None:
    assert route((OURS, NEWS, OUR_NEWS), name=None, sender_domain="example.com", tags=()) == ()
    assert route((OUR_NEWS,), name=None, sender_domain="example.org", tags=("offers",)) == ()


def test_a_subdomain_is_another_domain() -> None:
    assert names(sender="mail.example.org") == ["any", "spare"]


def test_a_letter_that_names_a_relay_gets_that_one_or_none() -> None:
    assert names("spare", sender="example.org") == ["spare"]
    assert names("news", tags=()) == ["news"], "the caller knows better"
    assert names("nobody") == []


RELAYS = st.lists(
    st.builds(
        replace,
        st.just(ANY),
        name=st.text("abc", min_size=1, max_size=3),
        senders=st.sets(st.sampled_from(["example.org", "example.net"])).map(tuple),
        tags=st.sets(st.sampled_from(["news", "offers"])).map(tuple),
    ),
    max_size=6,
    unique_by=lambda relay: relay.name,
)


@given(RELAYS, st.sampled_from(["example.org", "example.net", "example.com"]), st.sets(st.sampled_from(["news", "x"])))
def test_every_relay_that_serves_the_letter_is_there_once_and_no_other(
    relays: list[Relay], sender: str, tags: set[str]
) -> None:
    found = route(relays, name=None, sender_domain=sender, tags=tuple(tags))
    serving = [
        each
        for each in relays
        if (not each.senders or sender in each.senders) and (not each.tags or tags & set(each.tags))
    ]
    assert sorted(each.name for each in found) == sorted(each.name for each in serving)
    restricted = [bool(each.senders) + bool(each.tags) for each in found]
    assert restricted == sorted(restricted, reverse=True)
