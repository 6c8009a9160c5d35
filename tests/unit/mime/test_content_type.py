"""Content types, checked and guessed from a file name."""

from __future__ import annotations

import pytest

from postroom.errors import InvalidLetter
from postroom.mime.content_type import _EXTENSIONS, check, of_file_name


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.txt", "text/plain"),
        ("A.TXT", "text/plain"),
        ("a.html", "text/html"),
        ("a.csv", "text/csv"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.webp", "image/webp"),
        ("a.png", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.mp4", "video/mp4"),
        ("a.pdf", "application/pdf"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        ("a.odt", "application/vnd.oasis.opendocument.text"),
        ("a.ics", "text/calendar"),
        ("a.eml", "message/rfc822"),
        ("a.tar.gz", "application/gzip"),
        ("a.csv.gz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("folder.d/a.zip", "application/zip"),
        ("a", None),
        ("", None),
        (".txt", None),
        ("a.", None),
        ("a.unheard-of", None),
        ("a.txt ", None),
        ("http://example.org/a.txt?b", None),
    ],
)
def test_the_extension_tells_the_type_in_any_case(name: str, content_type: str | None) -> None:
    assert of_file_name(name) == content_type


def test_a_type_is_given_back_in_lower_case() -> None:
    assert check("Text/X-Odd.Type+XML", "content_type") == "text/x-odd.type+xml"


@pytest.mark.parametrize(
    "content_type",
    [
        *["", "/", "text", "text/", "/plain", "a/b/c", "text /plain", "text/ plain", "text/plain;charset=utf-8"],
        *["text/plain\n", "text/plain\0", "text/(plain)", "text/pl@in", 'text/"plain"', "text/plän", "x/" + "y" * 500],
        *[5, None, b"a/b"],
    ],
)
def test_what_is_no_type_and_subtype_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidLetter) as caught:
        check(content_type, "content_type")
    assert [problem.field for problem in caught.value.problems] == ["content_type"]


def test_every_type_of_the_table_is_one_and_no_extension_stands_twice() -> None:
    for content_type in _EXTENSIONS:
        assert check(content_type, "content_type") == content_type
    extensions = " ".join(_EXTENSIONS.values()).split()
    assert len(extensions) == len(set(extensions))
    assert all(extension == extension.lower() for extension in extensions)
