"""The whole way: a letter is handed in, a worker takes it to the relay, and both ends tell the same of it."""

from __future__ import annotations

from email import policy
from email.parser import BytesParser

from house import House
from postroom import Letter, LetterState, RecipientState
from postroom.ledger import views

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 8
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def test_a_letter_arrives_octet_for_octet(shared: House) -> None:
    letter = Letter(
        [("Ann Müller", "whole-to@example.com")],
        "Good morning,\n.dots at the beginning of a line stay\n..\n.\n\nBob",
        from_="Bob <bob@example.org>",
        subject="Grüße",
        html='<p>Good morning <img src="cid:logo"></p>',
        cc="whole-cc@example.com",
        bcc="whole-bcc@example.com",
        inline={"logo": ("logo.png", PICTURE)},
        attachments=[("invoice.pdf", PDF)],
        envelope_from="bounces@example.org",
    )
    receipt = shared.postroom.send(letter)
    status = receipt.wait()
    assert status.state is LetterState.SENT
    assert {address: each.state for address, each in status.recipients.items()} == dict.fromkeys(
        ["whole-to@example.com", "whole-cc@example.com", "whole-bcc@example.com"], RecipientState.ACCEPTED
    )
    assert all(each.attempts == 1 and each.reply.startswith("250 2.0.0") for each in status.recipients.values())
    assert shared.accepted(receipt) == dict.fromkeys(status.recipients, 1)
    assert shared.octets(receipt) == [letter.as_bytes()]


def test_what_arrives_reads_back_with_the_standard_librarys_parser(shared: House) -> None:
    receipt = shared.postroom.send_letter(
        "read-back@example.com",
        "Grüße aus Köln",
        subject="Übersicht",
        html="<p>Grüße aus Köln</p>",
        bcc="read-back-hidden@example.com",
        attachments=[("Übersicht.pdf", PDF)],
    )
    receipt.wait()
    [octets] = shared.octets(receipt)
    assert b"hidden" not in octets
    message = BytesParser(policy=policy.default).parsebytes(octets)
    assert message["subject"] == "Übersicht"
    assert message["to"].addresses[0].addr_spec == "read-back@example.com"
    assert message["message-id"] == f"<{receipt.id}@example.org>"
    bodies = {part.get_content_type(): part for part in message.walk() if not part.is_multipart()}
    assert bodies["text/plain"].get_content() == "Grüße aus Köln"
    assert bodies["text/html"].get_content() == "<p>Grüße aus Köln</p>"
    assert bodies["application/pdf"].get_content() == PDF
    assert bodies["application/pdf"].get_filename() == "Übersicht.pdf"
    assert not any(part.defects for part in message.walk())


def test_an_attachment_kept_beside_the_letter_arrives_and_is_then_forgotten(shared: House) -> None:
    big = PDF * 60
    letter = Letter("big@example.com", "see attached", from_="bob@example.org", attachments=[("big.pdf", big)])
    receipt = shared.postroom.send(letter)
    assert receipt.wait().state is LetterState.SENT
    assert shared.octets(receipt) == [letter.as_bytes()]
    assert views.letter_json(shared.ledger, receipt.id) is None, "of a sent letter only the account is kept"


def test_the_history_tells_each_attempt(shared: House) -> None:
    receipt = shared.postroom.send_letter("history@example.com", "hi", subject="hi")
    receipt.wait()
    queued, attempt = views.account(shared.ledger, receipt.id).history
    assert queued["event"] == "queued"
    assert attempt["event"] == "attempt"
    assert attempt["number"] == 1
    assert attempt["state"] == "sent"
    assert attempt["relay"] == "default"
    assert [each["address"] for each in attempt["recipients"]] == ["history@example.com"]
    assert queued["at_ms"] <= attempt["at_ms"]
