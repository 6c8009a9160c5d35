"""Letters that older workers wrote into the ledger, or onto the queue, compose to the octets they always did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letters import PDF, SETTINGS
from postroom import InvalidLetter, Letter
from postroom.kept_letter import kept_letter
from postroom.letter_json import LetterJson, PartJson
from postroom.mime.stored import Stored

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "schema-1"
WRITTEN = sorted(FOLDER.glob("*.json"))
MERGED = sorted((DATA / "schema-2").glob("*.json"))


@pytest.mark.parametrize("path", WRITTEN, ids=[each.stem for each in WRITTEN])
def test_a_letter_of_schema_1_composes_to_the_same_octets(path: Path) -> None:
    letter = Letter.from_json(path.read_bytes(), SETTINGS)
    assert b"".join(letter.octets(lambda stored: PDF)) == path.with_suffix(".eml").read_bytes()


@pytest.mark.parametrize("path", [each for each in WRITTEN if each.stem != "by-hand"])
def test_so_does_one_that_the_ledger_kept(path: Path) -> None:
    letter = kept_letter(path.read_bytes())
    assert b"".join(letter.octets(lambda stored: PDF)) == path.with_suffix(".eml").read_bytes()


def test_one_that_was_written_by_hand_was_never_kept_like_that() -> None:
    with pytest.raises(InvalidLetter, match="has parts"):
        kept_letter((FOLDER / "by-hand.json").read_bytes())


@pytest.mark.parametrize("path", [each for each in WRITTEN if each.stem not in ("by-hand", "stored")])
def test_it_is_written_again_as_it_was(path: Path) -> None:
    assert Letter.from_json(path.read_bytes(), SETTINGS).to_json() == path.read_bytes().rstrip()


@pytest.mark.parametrize("path", MERGED, ids=[each.stem for each in MERGED])
def test_a_letter_of_a_mail_merge_composes_to_the_same_octets(path: Path) -> None:
    def read(stored: Stored) -> bytes:
        template = path.with_suffix(".template").read_bytes()
        return template if hashlib.sha256(template).hexdigest() == stored.sha256 else PDF

    assert b"".join(kept_letter(path.read_bytes(), read).octets(read)) == path.with_suffix(".eml").read_bytes()


def test_every_key_stands_in_one_of_them() -> None:
    found = {key for path in (*WRITTEN, *MERGED) for key in keys(json.loads(path.read_bytes()))}
    known = {*LetterJson.__struct_encode_fields__, *PartJson.__struct_encode_fields__}
    assert known - found == set()


def keys(value: Any) -> Iterator[str]:
    """All keys of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from keys(each)
