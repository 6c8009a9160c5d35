"""The states and their edges, which scripts, docs and code agree on."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations_with_replacement

import pytest

from postroom.states import EDGES, FINAL, LETTER_STATES, RECIPIENT_STATES, LetterState, RecipientState, letter_state

A, P, D, R, E, C = (
    RecipientState.ACCEPTED,
    RecipientState.PENDING,
    RecipientState.DEFERRED,
    RecipientState.REFUSED,
    RecipientState.EXPIRED,
    RecipientState.CANCELLED,
)
_HEADER = re.compile(r"^-- from +(.+?)  +to +(.+)$", re.MULTILINE)
STAY = {LetterState.QUEUED, LetterState.SENDING, LetterState.DEFERRED, LetterState.HELD}
"""States that a verb may leave as they are: a bell is rung again, a claim is renewed, one of several was served."""


def headers() -> dict[str, tuple[set[str], set[str]]]:
    """What each script's header says: from which states, to which."""
    found = {}
    for path in (files("postroom.ledger") / "lua").iterdir():
        for before, after in _HEADER.findall(path.read_text()):
            found[path.name] = set(before.split(", ")), set(after.split(", "))
    return found


@pytest.mark.parametrize(
    ("recipients", "state"),
    [
        ([A], LetterState.SENT),
        ([A, A], LetterState.SENT),
        ([A, R], LetterState.PARTIAL),
        ([A, E], LetterState.PARTIAL),
        ([A, C], LetterState.PARTIAL),
        ([R], LetterState.FAILED),
        ([R, E], LetterState.FAILED),
        ([R, C], LetterState.FAILED),
        ([C, C], LetterState.CANCELLED),
        ([P], LetterState.DEFERRED),
        ([A, D], LetterState.DEFERRED),
        ([R, D], LetterState.DEFERRED),
        ([A, R, P], LetterState.DEFERRED),
    ],
)
def test_a_letters_state_follows_from_its_recipients(recipients: list[RecipientState], state: LetterState) -> None:
    assert letter_state(recipients) is state
    assert letter_state(recipients[::-1]) is state


def test_a_letter_is_over_exactly_when_no_recipient_is_open() -> None:
    for number in range(1, 4):
        for recipients in combinations_with_replacement(RecipientState, number):
            assert letter_state(recipients).is_final is not any(each.is_open for each in recipients)


def test_every_script_that_changes_a_state_says_from_where_to_where() -> None:
    assert set(headers()) == {
        "accept.lua",
        "claim.lua",
        "enter_window.lua",
        "finish.lua",
        "forget.lua",
        "operate.lua",
        "release.lua",
        "renew.lua",
        "testify.lua",
    }


def test_the_scripts_go_along_the_edges_and_no_edge_is_without_a_script() -> None:
    gone = set()
    for name, (before, after) in headers().items():
        states = {LetterState(each) for each in before | after if each != "(nothing)"}
        assert states <= set(LetterState), name
        for source in before - {"(nothing)"}:
            targets = {*EDGES[LetterState(source)], *({LetterState(source)} & STAY)} & after
            assert targets or after == {"(nothing)"}, f"{name} says that it begins at {source}: no edge leads on"
            gone |= {(source, target) for target in targets}
        for target in after - {"(nothing)"}:
            assert before == {"(nothing)"} or any(
                target in EDGES[LetterState(source)] | ({LetterState(source)} & STAY) for source in before
            ), f"{name} says that it ends at {target}: no edge leads there"
    assert {(source, target) for source, targets in EDGES.items() for target in targets} <= gone


def test_only_letters_that_are_over_are_forgotten() -> None:
    before, after = headers()["forget.lua"]
    assert before == set(FINAL)
    assert after == {"(nothing)"}


def test_a_letter_that_was_sent_or_could_not_be_read_stays_so() -> None:
    assert [state for state in LetterState if not EDGES[state]] == [LetterState.SENT, LetterState.REJECTED]


def test_every_state_can_be_reached_from_where_letters_begin() -> None:
    reached = {LetterState.SCHEDULED}
    while True:
        further = reached.union(*(EDGES[state] for state in reached))
        if further == reached:
            break
        reached = further
    assert reached == set(LetterState)


def test_every_state_is_explained() -> None:
    assert set(LETTER_STATES) == set(EDGES) == set(LetterState)
    assert set(RECIPIENT_STATES) == set(RecipientState)


def test_a_held_letter_is_settled_but_not_over() -> None:
    assert LetterState.HELD.is_settled
    assert not LetterState.HELD.is_final
    assert all(state.is_settled for state in FINAL)
