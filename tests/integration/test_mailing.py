"""``postroom send --csv``: a letter for each row of a table, all of them checked before the first is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import done, in_a_terminal, objects, postroom
from house import House, NewHouse
from postroom import LetterState
from postroom.broker import BULK_QUEUE
from postroom.ledger import views

ARGUMENTS = ("--to", "{name} <{email}>", "--subject", "News for {name}", "Dear {name}")


@pytest.fixture
def here(new_house: NewHouse) -> House:
    """A house without a worker."""
    return new_house()


def table(folder: Path, *rows: str, names: str = "email,name", encoding: str = "utf-8") -> str:
    """A file of these lines."""
    path = folder / "people.csv"
    path.write_text("\r\n".join([names, *rows]) + "\r\n", encoding)
    return str(path)


def people(number: int) -> Iterator[str]:
    """So many rows."""
    return (f'reader-{each}@example.com,"Reader, {each}"' for each in range(number))


def subjects(here: House) -> list[str]:
    """The subjects of all letters that wait."""
    return sorted(each.subject for each in views.listing(here.ledger, LetterState.QUEUED))


def test_each_row_gets_a_letter_behind_those_sent_alone(here: House, tmp_path: Path) -> None:
    path = table(tmp_path, *people(25), encoding="utf-8-sig")
    assert done(here, "send", "--csv", path, "--chunk", "10", *ARGUMENTS) == "25 letters accepted\n"
    assert subjects(here) == sorted(f"News for Reader, {number}" for number in range(25))
    assert here.postroom.bells.waiting()[BULK_QUEUE] == 3


def test_as_json_it_prints_the_ids(here: House, tmp_path: Path) -> None:
    found = objects(done(here, "send", "--json", "--csv", table(tmp_path, *people(3)), *ARGUMENTS))
    assert [views.status(here.ledger, each["id"]).subject for each in found] == [
        f"News for Reader, {number}" for number in range(3)
    ]


def test_a_dry_run_checks_and_counts_and_sends_nothing(here: House, tmp_path: Path) -> None:
    path = table(tmp_path, *people(3))
    assert done(here, "send", "--dry-run", "--csv", path, *ARGUMENTS) == "3 letters would be sent; none was\n"
    assert objects(done(here, "send", "--dry-run", "--json", "--csv", path, *ARGUMENTS)) == [{"letters": 3}]
    assert subjects(here) == []


def test_a_row_that_cannot_be_sent_is_named_and_nothing_is_sent(here: House, tmp_path: Path) -> None:
    result = postroom(here, "send", "--csv", table(tmp_path, *people(120), "nobody,Nobody"), *ARGUMENTS)
    assert result.exit_code == 1
    assert "Error: nothing was sent:\nrow 121.to[0]: 'nobody' is no address" in result.stderr
    result = postroom(here, "send", "--csv", table(tmp_path, *people(1)), *ARGUMENTS[:-1], "Dear {title}")
    assert "row 1: there is no field 'title'" in result.stderr
    assert subjects(here) == []


@pytest.mark.parametrize(
    ("lines", "names", "told"),
    [
        (["a@b.c"], "email,name", "line 2: it has not 2 columns"),
        (["a@b.c,Ann,more"], "email,name", "line 2: it has not 2 columns"),
        (["a@b.c,Ann"], "name,name", "a name stands twice"),
        (['"a@b.c,Ann'], "email,name", "is no CSV in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(here: House, tmp_path: Path, lines: list[str], names: str, told: str) -> None:
    result = postroom(here, "send", "--csv", table(tmp_path, *lines, names=names), *ARGUMENTS)
    assert result.exit_code == 1
    assert told in result.stderr
    assert subjects(here) == []


@pytest.mark.parametrize(
    "flags", [["--csv", "{path}", "--eml", "{path}"], ["--csv", "{path}", "--wait"], ["--dry-run"]]
)
def test_flags_that_contradict_a_table_are_refused(here: House, tmp_path: Path, flags: list[str]) -> None:
    path = table(tmp_path)
    result = postroom(here, "send", *(flag.format(path=path) for flag in flags), *ARGUMENTS)
    assert result.exit_code == 2


def test_in_a_terminal_it_shows_how_far_it_is(here: House, tmp_path: Path) -> None:
    status, shown = in_a_terminal(here, "send", "--csv", table(tmp_path, *people(300)), *ARGUMENTS, answer="")
    assert status == 0
    assert re.search(r"300/300\S* letters sent", shown)
    assert shown.rstrip().endswith("300 letters accepted")
