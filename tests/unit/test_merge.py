"""Mail-merge: the letter of a row is the letter composed by hand, and what a field says is data wherever it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import letters
from letters import PDF, PICTURE, SETTINGS, as_arrived
from postroom import InvalidLetter, Letter, Mailbox, Settings, letter_json, make_mime_part, merge
from postroom.kept_letter import kept_letter

ANN = {"name": "Ann", "email": "ann@example.com"}
LATER_MS = 2_000_000_000_000
BEN = {"name": "Ben", "email": "ben@example.com"}


def merged(
    *rows: Mapping[str, object], to: Any = "{name} <{email}>", message: Any = "Dear {name}", **keywords: Any
) -> list[Letter]:
    """The letters of these rows."""
    return list(merge(rows, to, message, **{"settings": SETTINGS, **keywords}))


def problems(*rows: Any, **keywords: Any) -> dict[str, str]:
    """The fields that are refused, and what is wrong with each."""
    with pytest.raises(InvalidLetter) as caught:
        merged(*rows, **keywords)
    return {problem.field: problem.problem for problem in caught.value.problems}


def as_kept(made: Letter) -> Letter:
    """The letter as a worker reads it out of the ledger."""
    kept = letter_json.write(made, 64 * 1024)
    return kept_letter(kept.text, lambda stored: kept.contents[stored.sha256])


# --- the same as by hand ----------------------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(name=letters.lines, text=letters.texts, number=st.integers(), contents_over=st.sampled_from([10, 64 * 1024]))
def test_the_letter_of_a_row_is_the_letter_composed_by_hand(
    name: str, text: str, number: int, contents_over: int
) -> None:
    files: dict[str, Any] = {"attachments": [("a.pdf", PDF)], "inline": {"logo": ("logo.png", PICTURE)}}
    try:
        by_hand = Letter(
            Mailbox("ann@example.com", name),
            f"Dear {name},\n{text} {{name}} {{ {number}",
            settings=SETTINGS,
            subject=f"{number}: {name}",
            html=f"<style>p {{color: red}}</style><p>{escape(name)}<p>{escape(text)}",
            headers={"X-Text": f"for {name}"},
            list_unsubscribe=[f"https://example.org/?{quote(name, safe='')}"],
            **files,
        )
    except InvalidLetter as refused:
        found = problems(
            {"name": name, "text": text, "n": number},
            to=("{name}", "ann@example.com"),
            message="Dear {name},\n{text} {{name}} { {n}",
            subject="{n}: {name}",
            html="<style>p {color: red}</style><p>{name}<p>{text}",
            headers={"X-Text": "for {name}"},
            list_unsubscribe="https://example.org/?{name}",
            **files,
        )
        by_hand_problems = {f"rows[0].{each.field}" for each in refused.problems}
        assert {field.replace("to[0]", "to") for field in found} == by_hand_problems
        return
    [made] = merged(
        {"name": name, "text": text, "n": number, "unused": None},
        to=("{name}", "ann@example.com"),
        message="Dear {name},\n{text} {{name}} { {n}",
        subject="{n}: {name}",
        html="<style>p {color: red}</style><p>{name}<p>{text}",
        headers={"X-Text": "for {name}"},
        list_unsubscribe="https://example.org/?{name}",
        settings=Settings(from_=SETTINGS.from_, contents_over=contents_over),
        **files,
    )
    same = {"id": made.id, "date_ms": made.date_ms}
    assert made == _with(by_hand, **same)
    assert _octets(made) == _with(by_hand, **same).as_bytes() == made.as_bytes()
    assert Letter.from_json(made.to_json(), SETTINGS) == made, "in whole it is a letter as any other"


def _with(made: Letter, **changes: Any) -> Letter:
    """The letter under another id, and of another date."""
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def _octets(made: Letter) -> bytes:
    """The octets that a worker sends."""
    kept = letter_json.write(made, 64 * 1024)
    return b"".join(as_kept(made).octets(lambda stored: kept.contents[stored.sha256]))


def test_each_row_makes_one_letter_and_all_share_their_content() -> None:
    outside = Settings(from_=SETTINGS.from_, contents_over=100)
    first, second = merged(ANN, BEN, subject="For {name}", attachments=[("a.pdf", PDF)], settings=outside)
    assert [str(each.to[0]) for each in (first, second)] == ["Ann <ann@example.com>", "Ben <ben@example.com>"]
    assert [each.subject for each in (first, second)] == ["For Ann", "For Ben"]
    one, other = letter_json.write(first, 100), letter_json.write(second, 100)
    assert one.contents == other.contents
    assert len(one.contents) == 2, "the template, and the attachment that it names"
    assert b"Ann" not in b"".join(one.contents.values())
    assert b"Dear" not in one.text
    assert len(one.text) < 250


def test_only_the_fields_that_are_needed_are_kept() -> None:
    [made] = merged(ANN | {"password": "secret"})
    assert b"secret" not in letter_json.write(made, 100).text


def test_when_and_how_to_send_is_the_same_for_all() -> None:
    [made] = merged(
        ANN,
        send_at=LATER_MS,
        expires_in=90,
        on_uncertain="hold",
        tags=["news"],
        notify="never",
        relay="news",
        calendar=letters.INVITATION,
        envelope_from="bounces+{name}@example.org",
        idempotency_key="news-{email}",
    )
    assert (made.send_at_ms, made.expires_in_ms, made.date_ms) == (LATER_MS, 90_000, LATER_MS)
    assert (made.on_uncertain, made.tags, made.notify, made.relay) == ("hold", ("news",), ("never",), "news")
    assert (made.envelope_from, made.idempotency_key) == ("bounces+Ann@example.org", "news-ann@example.com")
    assert as_kept(made) == made


def test_the_text_of_the_html_is_made_once_before_anything_stands_in_it() -> None:
    [made] = merged({"first_name": "<b>A & B</b>", **ANN}, message=None, html="<p>Dear <i>{first_name}</i></p>")
    assert made.message is not None
    assert made.html is not None
    assert made.message.text == "Dear <b>A & B</b>\n"
    assert made.html.text == "<p>Dear <i>&lt;b&gt;A &amp; B&lt;/b&gt;</i></p>"
    assert as_kept(made) == made


def test_parts_made_by_hand_are_the_same_for_all() -> None:
    [made] = merged(ANN, message=make_mime_part(text="{name}"))
    assert made.message is not None
    assert made.message.text == "{name}"


def test_a_digest_tells_letters_apart_by_template_and_fields_and_by_nothing_else() -> None:
    def digest(row: Mapping[str, object], **keywords: Any) -> str:
        [made] = merged(row, attachments=[("a.pdf", PDF)], **keywords)
        return letter_json.write(made, 64 * 1024).digest

    assert digest(ANN) == digest(dict(reversed(ANN.items())))
    assert digest(ANN, settings=Settings(from_=SETTINGS.from_, contents_over=10)) == digest(ANN)
    assert len({digest(ANN), digest(BEN), digest(ANN, message="Hi {name}")}) == 3


# --- what a field says is data ----------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    said=letters.lines
    | st.sampled_from(["a@example.net", "A <a@example.net>", "a@b.c, d@e.f", "x; y:", "\r\nBcc: a@b.c"])
)
def test_no_name_adds_a_recipient_or_a_header_field(said: str) -> None:
    try:
        [made] = merged(ANN | {"name": said}, subject="{name}", to=["{name} <{email}>"], reply_to="{name} <{email}>")
    except InvalidLetter:
        return
    assert made.envelope.recipients == ("ann@example.com",)
    [plain] = merged(ANN, subject="x", reply_to="Ann <{email}>")
    names = [field.partition(b":")[0] for field in made.header_fields()]
    assert names == [field.partition(b":")[0] for field in plain.header_fields()]


@pytest.mark.parametrize(
    "said", ["a@b.c, d@e.f", "A <a@b.c>", "a@b.c\n", "a@b.c\r\nBcc: d@e.f", "", "Team: a@b.c;", "a b@c.d"]
)
def test_what_is_no_address_is_refused_as_one(said: str) -> None:
    assert problems({"name": "Ann", "email": said}).keys() == {"rows[0].to[0]"}
    assert problems({"name": "Ann", "email": said}, to="{email}").keys() == {"rows[0].to[0]"}


@given(said=letters.texts)
def test_in_html_every_field_is_escaped(said: str) -> None:
    [made] = merged(ANN | {"said": said}, html="<p title='{said}'>{said}</p>")
    assert made.html is not None
    assert made.html.text == as_arrived(f"<p title='{escape(said)}'>{escape(said)}</p>")


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_row_that_lacks_a_field_is_named_with_the_field() -> None:
    assert problems(ANN, {"email": "x@example.com"}) == {"rows[1]": "there is no field 'name'"}


@pytest.mark.parametrize("value", [None, True, 1.5, b"Ann", ["Ann"], object()])
def test_a_field_that_is_no_text_is_refused(value: object) -> None:
    assert problems(ANN | {"name": value}) == {"rows[0]": f"the field 'name' is {type(value).__name__}"}


@pytest.mark.parametrize("row", [None, 5, "Ann", ["Ann", "ann@example.com"]])
def test_what_is_no_row_is_refused(row: object) -> None:
    assert problems(row) == {"rows[0]": f"it is {type(row).__name__}"}


def test_the_problems_of_a_letter_name_its_row() -> None:
    found = problems(ANN, ANN | {"name": "a\nb"}, subject="{name}")
    assert found.keys() == {"rows[1].to[0]", "rows[1].subject"}


@pytest.mark.parametrize(
    ("keywords", "field"),
    [
        ({"id": "x"}, "id"),
        ({"date_ms": 1}, "date_ms"),
        ({"idempotency_key": "news"}, "idempotency_key"),
        ({"message": b"octets"}, "message"),
        ({"html": 5}, "html"),
        ({"subject": 5}, "subject"),
        ({"to": 5}, "to"),
        ({"to": [b"x"]}, "to"),
        ({"headers": "X: y"}, "headers"),
        ({"attachments": ["no-such-file"]}, "attachments[0]"),
        ({"send_at": "soon"}, "send_at"),
        ({"tags": ["no word"]}, "tags"),
        ({"list_unsubscribe": 1}, "list_unsubscribe"),
        ({"cc": "\ud800"}, "cc"),
        ({"message": "\ud800"}, "message"),
        ({"headers": {"X-A": "\ud800"}}, "headers"),
        ({"from_": "nobody"}, "from_"),
    ],
)
def test_what_no_row_could_mend_is_refused_at_once(keywords: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        merge([], **{"to": "{email}", "message": "hi", "settings": SETTINGS, **keywords})
    assert [each.field for each in caught.value.problems] == [field]


def test_a_letter_on_the_queue_cannot_name_a_template() -> None:
    [made] = merged(ANN)
    with pytest.raises(InvalidLetter, match="template: it is in a ledger that is not at hand"):
        Letter.from_json(letter_json.write(made, 100).text, SETTINGS)
    with pytest.raises(InvalidLetter, match="write the letter in whole, without fields"):
        Letter.from_json(json.dumps(json.loads(made.to_json()) | {"fields": {"name": "Ann"}}), SETTINGS)
