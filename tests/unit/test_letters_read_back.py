"""Whole letters, judged by parsers that are not ours: Python's ``email``, and one of Node's for a fixed corpus.

What goes in as text, names, addresses, file names and octets is what a reader gets, whatever the script. What Python's
parser is known to misread is said where it matters.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

import letters
from letters import PICTURE, as_arrived, letter, lines_as_read
from postroom import Group, Letter, Part
from postroom.address import Address, mailboxes
from postroom.kept_letter import kept_letter

INDEPENDENT = Path(__file__).parents[1] / "independent"

# --- Python's parser -------------------------------------------------------------------------------------------------


def parsed(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


def leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold no others, in order; a message within the message is one."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        for part in message.iter_parts():
            assert isinstance(part, EmailMessage)
            yield from leaves(part)
    else:
        yield message


def octets_of(leaf: EmailMessage) -> bytes:
    octets = leaf.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


def text_of(leaf: EmailMessage) -> str:
    return lines_as_read(octets_of(leaf).decode(leaf.get_content_charset("us-ascii")))


def dense(name: str | None) -> str:
    """A name without white space: Python's parser joins white space, and keeps what parts two encoded words."""
    return "".join((name or "").split())


def read_addresses(message: EmailMessage, field: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and addresses; a mailbox that stands alone is in a group without a name."""
    value = message[field]
    if value is None:
        return []
    assert isinstance(value, AddressHeader)
    return [
        (dense(group.display_name), [(dense(each.display_name), each.addr_spec) for each in group.addresses])
        for group in value.groups
    ]


def as_read(addresses: tuple[Address, ...]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (dense(each.name), [(dense(member.name), member.address) for member in each.members])
        if isinstance(each, Group)
        else ("", [(dense(each.name), each.address)])
        for each in addresses
    ]


def assert_fit_for_the_wire(octets: bytes) -> None:
    """RFC 5321 §4.5.3.1.6, RFC 5322 §2.1.1 and §3.2.2, RFC 2045 §2.7."""
    assert octets.endswith(b"\r\n")
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|\0", octets) is None, "a bare line end, or NUL"
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    for part in email.message_from_bytes(octets).walk():
        assert not part.defects
        for _, value in part.raw_items():
            assert all(line.strip() for line in str(value).splitlines()[1:]), "a line of white space only"
        payload = part.get_payload()
        if isinstance(payload, str) and str(part.get("content-transfer-encoding", "7bit")) != "8bit":
            assert payload.isascii(), "8-bit octets in a part that does not say so"


Leaf = tuple[str, str | bytes, str | None]
"""Content type (empty for any), content, file name."""


def expected_leaves(keywords: dict[str, Any], made: Letter) -> list[Leaf]:
    """Return the leaves as the caller gave them."""
    message = keywords.get("message")
    found: list[Leaf] = []
    if isinstance(message, Part):
        found += [
            (part.content_type, part.content, part.name)
            for part in message.walk()
            if isinstance(part.content, bytes) and not part.is_multipart
        ]
    elif message is not None:
        found.append(("text/plain", message, None))
    elif made.message is not None:
        found.append(("text/plain", made.message.text, None))
    if "html" in keywords:
        found.append(("text/html", keywords["html"], None))
    found += [("", octets, name) for name, octets in keywords.get("inline", {}).values()]
    if "calendar" in keywords:
        found.append(("text/calendar", keywords["calendar"], None))
    found += [("", octets, name) for name, octets in keywords.get("attachments", ())]
    if "calendar" in keywords:
        found.append(("application/ics", keywords["calendar"], "invite.ics"))
    return found


def assert_reads_as(leaf: EmailMessage, kind: str, content: str | bytes, name: str | None, *, is_whole: bool) -> None:
    assert not kind or leaf.get_content_type() == kind
    # Not get_filename, which takes white space off.
    disposition = leaf["content-disposition"]
    assert (disposition.params.get("filename") if disposition else None) == name
    if leaf.get_content_type() == "message/rfc822":
        inner = leaf.get_payload(0)
        assert isinstance(inner, EmailMessage)
        assert inner["subject"] == "Grüße"
        assert text_of(inner) == "Hello\n.\nthere\n"
        return
    wanted = as_arrived(content) if isinstance(content, str) else content
    got: str | bytes = text_of(leaf) if isinstance(content, str) else octets_of(leaf)
    # The last line of a bare text ends where the message ends.
    newline = "\n" if isinstance(got, str) else b"\r\n"
    assert got == wanted or (is_whole and got == wanted + newline)  # type: ignore[operator]


@given(letters.keywords)
@example({"to": ["ann@example.com"], "message": ""})
@example({"to": [("x" * 75, "ann@example.com")], "message": ".", "subject": " " * 200})
@example({"to": ["ann@example.com"], "html": "", "text_from_html": True, "attachments": [("a", b"")]})
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_letter_reads_back_as_it_was_given(keywords: dict[str, Any]) -> None:
    made = letter(**keywords)
    octets = made.as_bytes()
    assert_fit_for_the_wire(octets)
    assert Letter.from_json(made.to_json(), letters.SETTINGS).as_bytes() == octets
    assert kept_letter(made.to_json()) == made

    message = parsed(octets)
    for field, addresses in (("from", (made.from_,)), ("cc", made.cc), ("reply-to", made.reply_to)):
        assert read_addresses(message, field) == as_read(addresses)
    if made.to or made.cc:
        assert read_addresses(message, "to") == as_read(made.to)
    assert message.get("subject") == keywords.get("subject")
    assert message["message-id"] == made.message_id
    assert message["date"].datetime == datetime.fromtimestamp(made.date_ms // 1000, UTC)
    for field in ("X-Note", "Comments"):
        # Python's parser takes a fold after the colon for a blank.
        values = [value.strip(" ") for name, value in keywords.get("headers", ()) if name == field]
        assert [value.strip(" ") for value in message.get_all(field, [])] == values

    found = list(leaves(message))
    wanted = expected_leaves(keywords, made)
    assert len(found) == len(wanted)
    for leaf, (kind, content, name) in zip(found, wanted, strict=True):
        assert_reads_as(leaf, kind, content, name, is_whole=len(found) == 1 and leaf is message)


@given(letters.keywords)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_as_many_recipients_as_mailboxes_are_named(keywords: dict[str, Any]) -> None:
    made = letter(**{**keywords, "message": "", "html": None, "calendar": None, "inline": None, "attachments": ()})
    message = parsed(b"".join(made.header_fields()) + b"\r\n")
    named = [
        address for field in ("to", "cc") for _, members in read_addresses(message, field) for _, address in members
    ]
    hidden = [mailbox.address for mailbox in mailboxes(made.bcc)]
    assert len(named) + len(hidden) == len(mailboxes((*made.to, *made.cc, *made.bcc)))
    assert sorted({*named, *hidden}) == sorted(made.envelope.recipients)


def test_inline_parts_are_found_by_what_the_html_calls_them() -> None:
    made = letter(
        html='<img src="cid:logo"><img src="cid:a@b.c">', inline={"logo": ("a.png", PICTURE), "a@b.c": ("b.png", b"b")}
    )
    parts = {str(leaf["content-id"]): octets_of(leaf) for leaf in leaves(parsed(made.as_bytes())) if leaf["content-id"]}
    assert parts == {"<logo>": PICTURE, "<a@b.c>": b"b"}


@pytest.mark.parametrize("name", list(letters.corpus()))
def test_each_letter_of_the_corpus_is_fit_for_the_wire_and_without_a_defect(name: str) -> None:
    octets = letters.corpus()[name].as_bytes()
    assert_fit_for_the_wire(octets)
    for part in parsed(octets).walk():
        assert not part.defects
        defects = [str(defect) for value in part.values() for defect in getattr(value, "defects", ())]
        # A file name beyond ASCII has a likeness in ASCII beside it, for older readers.
        assert set(defects) <= {"duplicate parameter name; duplicate ignored"}


def test_a_local_part_beyond_ascii_is_written_in_utf_8_and_read_back() -> None:
    made = letter([("Почта", "почта@пример.рф")], from_="bob@example.org")
    # From str, because the parser of octets does not know RFC 6532.
    message = email.message_from_string(made.as_bytes().decode(), policy=email.policy.default)
    assert message["to"].addresses[0].addr_spec == "почта@пример.рф"
    assert made.envelope.needs_smtputf8
    assert message["message-id"] == f"<{made.id}@example.org>"


def test_an_author_beyond_ascii_has_a_message_id_that_every_program_reads() -> None:
    made = letter(from_="боб@пример.рф")
    assert made.message_id == f"<{made.id}@xn--e1afmkfd.xn--p1ai>"
    assert f"Message-ID: {made.message_id}\r\n".encode() in made.as_bytes()


# --- a parser of another language ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with Node's parser, installed at first use as tests/independent/package.json pins it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    wanted = "independent-" + hashlib.sha256((INDEPENDENT / "package.json").read_bytes()).hexdigest()[:12]
    cache = getattr(request.config, "cache", None)
    folder: Path = tmp_path_factory.mktemp(wanted) if cache is None else cache.mkdir(wanted)
    if not (folder / "complete").exists():
        shutil.copy(INDEPENDENT / "package.json", folder)
        command = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--no-package-lock",
            "--fetch-retries=0",
        ]
        try:
            installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not install the parser in time")
        if installed.returncode:
            pytest.skip(f"npm could not install the parser: {installed.stderr.strip()[-200:]}")
        (folder / "complete").touch()
    shutil.copy(INDEPENDENT / "read.mjs", folder)
    return folder


def read_by_node(folder: Path, messages: list[bytes]) -> list[dict[str, Any]]:
    """What Node's parser reads: see tests/independent/read.mjs."""
    given_messages = "\n".join(message.hex() for message in messages)
    done = subprocess.run(
        ["node", "read.mjs"], cwd=folder, input=given_messages, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    read: list[dict[str, Any]] = json.loads(done.stdout)
    return read


def flat(addresses: tuple[Address, ...]) -> list[Any]:
    return [
        {"name": each.name, "group": [{"name": m.name, "address": m.address} for m in each.members]}
        if isinstance(each, Group)
        else {"name": each.name, "address": each.address}
        for each in addresses
    ]


def as_node_should_read(made: Letter) -> dict[str, Any]:
    return {
        "subject": made.subject,
        "from": {"name": made.from_.name, "address": made.from_.address},
        "to": flat(made.to) if made.to or made.cc else [{"name": "undisclosed-recipients", "group": []}],
        "cc": flat(made.cc),
        "replyTo": flat(made.reply_to),
        "messageId": made.message_id,
        "date": datetime.fromtimestamp(made.date_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }


def files_of(made: Letter) -> list[dict[str, str | None]]:
    return [
        {
            "filename": part.name,
            "contentId": f"<{part.content_id}>" if part.content_id else None,
            "content": shown(part.content, part.content_type),
        }
        for part in (*made.inline, *made.attachments)
        if isinstance(part.content, bytes)
    ]


def shown(octets: bytes, content_type: str) -> str:
    """Octets in hexadecimal; those of a message travel as lines, whose ends this parser makes its own."""
    return (octets.replace(b"\r\n", b"\n").strip() if content_type == "message/rfc822" else octets).hex()


def test_a_parser_of_another_language_reads_the_same(node: Path) -> None:
    corpus = letters.corpus()
    for (name, made), read in zip(
        corpus.items(), read_by_node(node, [each.as_bytes() for each in corpus.values()]), strict=True
    ):
        for field, wanted in as_node_should_read(made).items():
            assert read[field] == wanted, f"{name}: {field}"
        if made.message is not None and not made.message.is_multipart:
            assert as_arrived(read["text"]).rstrip("\n") == made.message.text.rstrip("\n"), name
        if made.html is not None:
            assert as_arrived(read["html"]).rstrip("\n") == made.html.text.rstrip("\n"), name
        named = {part.name for top in made.parts for part in top.walk() if part.name}
        named |= {"invite.ics"} if made.calendar else set()
        assert named <= {file["filename"] for file in read["attachments"]}, name
        if made.calendar is None and (made.message is None or not made.message.is_multipart):
            files = [
                {
                    "filename": file["filename"],
                    "contentId": file["contentId"],
                    "content": shown(bytes.fromhex(file["content"]), file["mimeType"]),
                }
                for file in read["attachments"]
            ]
            assert files == files_of(made), name
