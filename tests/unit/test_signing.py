"""DKIM: others verify what we sign. Judges: a verifier written after the RFC, Mail::DKIM, mailauth."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from dkim_check import relaxed_body, tags, verify
from postroom.address import Mailbox
from postroom.letter import Letter
from postroom_worker.signing import body_digest, signed
from postroom_worker.signing_key import SigningKey

TESTS = Path(__file__).parent.parent
RSA = SigningKey("example.org", "s1", rsa.generate_private_key(65537, 2048))
ED25519 = SigningKey("example.org", "s2", Ed25519PrivateKey.generate())
BOTH = (RSA, ED25519)
PASS = ["rsa-sha256=pass", "ed25519-sha256=pass"]
FAIL = ["rsa-sha256=fail", "ed25519-sha256=fail"]

READY = (
    b"From: Bob <bob@example.org>\r\nTO : a@example.com\r\nSubject:   folded\r\n\tand  tabbed \r\n"
    b"Date: Mon, 23 Nov 2026 21:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n  Gr\xc3\xbc\xc3\x9fe \t and  blanks \t\r\n\r\n \r\n.\r\nend\r\n \r\n\r\n"
)


def record(key: SigningKey) -> str:
    """The text of the record in the DNS that a key's owner publishes."""
    public = key.private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        octets, kind = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "rsa"
    else:
        octets, kind = public.public_bytes_raw(), "ed25519"
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"


ZONE = {f"{key.selector}._domainkey.{key.domain}": record(key) for key in BOTH}


def letter(message: str | None = "Hi.\n", **keywords: object) -> Letter:
    given = {"to": "a@example.com", "from_": "Bob <bob@example.org>", "subject": "Hello", **keywords}
    return Letter(message=message, **given)  # type: ignore[arg-type]


def sign(sent: Letter | Sequence[bytes], keys: Sequence[SigningKey] = BOTH) -> bytes:
    return b"".join(signed(sent.octets() if isinstance(sent, Letter) else sent, keys))


def check(message: bytes) -> list[str]:
    return verify(message, ZONE.__getitem__)


LETTERS = {
    "text": letter(),
    "empty": letter(""),
    "blank lines only": letter(" \n\n \t\n"),
    "no line end": letter("no line end"),
    "blanks": letter("a  b\t\tc \t\n   \n  d  \n\n\n"),
    "dots": letter(".\n..\n.end"),
    "not ASCII": letter("Grüße\n", subject="Grüße " * 30, from_=("Bób " * 60, "bob@example.org"), to=[("Ü", "a@x.de")]),
    "SMTPUTF8": letter(from_="bøb@example.org", to="ü@example.com"),
    "long words": letter("x" * 5000, headers={"X-Y": "y" * 900, "References": " ".join(["<12345@example.org>"] * 99)}),
    "of a list": letter(list_unsubscribe=["https://x.example/u?" + "q" * 600, "mailto:u@x.example"]),
    "bodies": letter(html="<p>Grüße</p>\n" * 99, calendar="BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"),
    "attachments": letter(attachments=[("a.bin", bytes(range(256)) * 2000), ("Ü.txt", b"a  b \n\n"), ("0", b"")]),
    "many to": letter(to=[f"{n}@example.com" for n in range(200)]),
    "ready": Letter.from_bytes(READY),
    "ready, signed already": Letter.from_bytes(b"DKIM-Signature: v=1; a=rsa-sha256; d=x.y; s=z; b=\r\n" + READY),
    "ready, no body": Letter.from_bytes(b"From: bob@example.org\r\nTo: a@example.com\r\n\r\n"),
    "ready, repeated fields": Letter.from_bytes(b"Resent-To: a@x.y\r\nresent-to: b@x.y\r\nCc: a@x.y\r\n" + READY),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in LETTERS if name != "ready, signed already"])
def test_every_letter_verifies(name: str) -> None:
    assert check(sign(LETTERS[name])) == PASS


@pytest.mark.parametrize(
    ("command", "why_missing", "ed25519"),
    [
        (
            ["perl", str(TESTS / "dkim_verify.pl")],
            "Perl's Mail::DKIM is missing (Debian: libmail-dkim-perl)",
            "invalid",
        ),
        (["node", str(TESTS / "dkim_verify.js")], "node's mailauth is missing (npm; NODE_PATH tells where)", "pass"),
    ],
    ids=["Mail::DKIM", "mailauth"],
)
def test_others_verify_every_letter(command: list[str], why_missing: str, ed25519: str, tmp_path: Path) -> None:
    (tmp_path / "zone").write_text("".join(f"{name}\t{text}\n" for name, text in ZONE.items()))
    messages = [(name, sign(each)) for name, each in LETTERS.items()]
    messages.append(("changed", sign(LETTERS["text"]).replace(b"\r\nHi.", b"\r\nHo.")))
    for place, (_, message) in enumerate(messages):
        (tmp_path / f"{place}.eml").write_bytes(message)
    paths = [str(tmp_path / "zone"), *(str(tmp_path / f"{place}.eml") for place in range(len(messages)))]
    try:
        run = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=100, check=False)
    except FileNotFoundError:
        pytest.skip(why_missing)
    if run.returncode and re.search("Can't locate Mail/DKIM|Cannot find module 'mailauth", run.stderr):
        pytest.skip(why_missing)
    assert run.returncode == 0, run.stderr
    found = dict(zip([name for name, _ in messages], run.stdout.splitlines(), strict=True))
    # This Mail::DKIM knows no Ed25519, and has to go by RSA, as the receivers for whom one signs twice.
    wanted = f"rsa-sha256=pass ed25519-sha256={ed25519}"
    assert "pass" not in found.pop("changed")
    assert found.pop("ready, signed already").startswith(wanted)
    assert found == dict.fromkeys(found, wanted)


@given(
    subject=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200),
    name=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_any_text_verifies(subject: str, name: str, text: str) -> None:
    sent = letter(text, subject=subject, from_=Mailbox("bob@example.org", name), html=f"<p>{text}")
    assert check(sign(sent)) == PASS


def test_relays_may_refold_and_change_white_space() -> None:
    message = sign(letter("Hi.\n\nBye  now.\n", subject="Hello  over there"))
    head, _, body = message.partition(b"\r\n\r\n")
    head = re.sub(rb"(?m)^(From|To|Subject):", lambda name: name[0][:-1].upper() + b" :\r\n ", head)
    head = head.replace(b"; ", b";\r\n\t").replace(b"over there", b"over \t\r\n there ")
    body = body.replace(b"Bye  now.", b"Bye \t now. \t") + b"\r\n \r\n"
    assert check(head + b"\r\n\r\n" + body) == PASS


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"Subject: Hello", b"Subject: Hullo"),
        (b"Subject: Hello", b"Subject: He llo"),
        (b"Subject: Hello\r\n", b""),
        (b"\r\nHi.", b"\r\nHo."),
        (b"\r\nHi.", b"\r\n\r\nHi."),
        (b"bob@example.org", b"eve@example.org"),
        (b"\r\nFrom:", b"\r\nFrom: Eve <eve@example.org>\r\nFrom:"),
        (b"\r\nDate:", b"\r\nFrom: Eve <eve@example.org>\r\nDate:"),
        (b"\r\nSubject:", b"\r\nSubject: other\r\nSubject:"),
        (b"x.example/u", b"x.example/v"),
        (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=No-Click"),
        (b"text/plain", b"text/html"),
        (b"To: a@", b"To: b@"),
    ],
)
def test_what_is_signed_cannot_be_changed(was: bytes, becomes: bytes) -> None:
    message = sign(letter(list_unsubscribe="https://x.example/u"))
    assert message.count(was) == 1
    # Another Subject above is not the one that was signed: the lowest is (RFC 6376 §5.4.2), and readers show one.
    assert check(message.replace(was, becomes)) == (PASS if becomes.endswith(b"Subject:") else FAIL)


def test_the_fields_that_matter_are_signed_and_from_once_more() -> None:
    sent = letter(list_unsubscribe="https://x.example/u", cc="c@x.y", headers={"X-Campaign": "7", "Reply-To": "r@x.y"})
    [found] = [tags(value) for value in re.findall(rb"DKIM-Signature:((?:.|\n )*)\n", sign(sent, [RSA]))]
    names = found.pop("h").split(":")
    assert names.count("from") == 2
    assert {"to", "cc", "reply-to", "subject", "date", "message-id", "content-type", "mime-version"} <= set(names)
    assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(names)
    assert "x-campaign" not in names
    assert found.keys() == {"v", "a", "c", "d", "s", "bh", "b"}
    assert (found["d"], found["s"], found["a"]) == ("example.org", "s1", "rsa-sha256")


def test_the_field_is_folded() -> None:
    for each in signed(LETTERS["of a list"].octets(), BOTH)[:2]:
        assert each.startswith(b"DKIM-Signature: v=1;")
        assert each.endswith(b"\r\n")
        assert max(map(len, each.split(b"\r\n"))) <= 78


def test_a_message_is_sent_as_it_is_behind_its_signatures() -> None:
    for sent in LETTERS.values():
        content = sent.octets()
        before = list(content)
        assert signed(content, BOTH)[2:] == before == content


def test_a_retry_is_the_same_to_the_octet(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = letter(html="<p>Hi</p>", attachments=[("a.bin", bytes(1000))])
    first = sign(sent)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert sign(Letter.from_json(sent.to_json())) == first


def test_chunks_may_be_cut_anywhere() -> None:
    content = LETTERS["ready"].as_bytes()
    whole = sign([content])
    for size in (1, 2, 3, 7, 64):
        assert sign([content[start : start + size] for start in range(0, len(content), size)]) == whole


@pytest.mark.parametrize(
    ("author", "domain", "subdomains", "is_signed"),
    [
        ("bob@example.org", "example.org", False, True),
        ("bob@EXAMPLE.org", "example.org", False, True),
        ("bob@news.example.org", "example.org", False, False),
        ("bob@news.example.org", "example.org", True, True),
        ("bob@badexample.org", "example.org", True, False),
        ("bob@example.org.evil.com", "example.org", True, False),
        ("bob@org", "example.org", True, False),
        ("bob@bücher.example", "xn--bcher-kva.example", False, True),
        ("bøb@bücher.example", "xn--bcher-kva.example", False, True),
        ("bøb@a.bücher.example", "xn--bcher-kva.example", True, True),
        ("bøb@bücher.example", "example.org", True, False),
        ('"bob@example.org" <bob@example.com>', "example.org", True, False),
        ('"<bob@example.org>, \\"" <bob@example.com>', "example.org", True, False),
        ('"b@example.org"@example.com', "example.org", True, False),
    ],
)
def test_a_key_signs_for_the_authors_of_its_domain(author: str, domain: str, subdomains: bool, is_signed: bool) -> None:
    key = replace(ED25519, domain=domain, subdomains=subdomains)
    message = Letter.from_bytes(f"From: {author}\r\n\r\nHi\r\n".encode(), to="a@example.com", envelope_from="")
    found = re.findall(rb"\sd=([^;]+);", sign(message, [key]))
    assert found == ([domain.encode()] if is_signed else [])


def test_the_author_is_the_one_that_the_reader_sees() -> None:
    sent = letter(headers={"From": "eve@example.net, bob@example.org", "Sender": "eve@example.net"})
    assert check(sign(sent)) == PASS
    sent = letter(headers={"From": "eve@example.net", "Sender": "bob@example.org"})
    assert sign(sent) == sent.as_bytes()


def test_without_keys_of_its_domain_a_letter_is_as_it_was() -> None:
    assert signed(LETTERS["text"].octets(), ()) == LETTERS["text"].octets()
    assert signed(LETTERS["text"].octets(), [replace(RSA, domain="example.net")]) == LETTERS["text"].octets()
    assert sign([b"To: a@example.com\r\n", b"\r\n", b"no author\r\n"]) == b"To: a@example.com\r\n\r\nno author\r\n"


@given(st.lists(st.text(" \t\nab").map(lambda text: text.replace("\n", "\r\n").encode())))
def test_bodies_are_canonicalized_as_the_rfc_says(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert body_digest(pieces) == sha256(relaxed_body(body)).digest()
    assert body_digest([body[place : place + 1] for place in range(len(body))]) == body_digest([body])


def test_the_digests_of_the_rfc() -> None:
    # RFC 6376 §3.4.5, and §3.4.4 of the empty body.
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"
    assert base64.b64encode(body_digest([])) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_a_long_body_takes_no_memory_and_little_time() -> None:
    for body in (
        os.urandom(3 * 2**20).hex().encode(),
        b" " * 3 * 2**20 + b"a",
        b" a" * 2**20,
        b"\t\r\n" * 2**20 + b"a",
    ):
        content = [b"From: bob@example.org\r\n\r\n" + body]
        tracemalloc.start()
        began = time.process_time()
        signed(content, BOTH)
        took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert took < 60, "what is quadratic takes hours"
        assert peak < 3 * len(body)
