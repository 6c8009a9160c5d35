"""The letters that the demo sends."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from postroom import Letter, make_mime_part

SENDER = "Postroom demo <demo@postroom.example>"
READER = "reader@example.org"
GREYLISTED = "newcomer@example.org"
REFUSED = "nobody@example.org"
SLOW = "slow@example.org"

# The Japanese text of the tutorial of Allegro Common Lisp's send-letter, from which Postroom took its idea.
JAPANESE = (
    "Allegro Common Lisp  （以下Allegro CLと呼びます）は、高度にオプティマイズされた"
    "Common Lispシステムであり、 最もパワフルなダイナミックオブジェクト指向プログラミングシステムです。"
    " Allegro CLは、プログラム開発の生産性向上と、ダイナミックオブジェクト指向のメリットを提供します。"
)


def tutorial() -> Iterator[Letter]:
    """The four letters of the tutorial."""
    yield Letter(READER, "hi!! this is my first programmatic email!", from_=SENDER)
    text = "hi!! this is my first mime-compliant programmatic email!"
    yield Letter(READER, make_mime_part(text=text), from_=SENDER)
    yield Letter(READER, JAPANESE, from_=SENDER)
    yield Letter(READER, make_mime_part(text=JAPANESE, charset="iso-2022-jp"), from_=SENDER)


def invoice() -> Letter:
    """An invoice: text and html, an inline image and a PDF."""
    return Letter(
        "Zoë Łukasiewicz <zoe@example.org>",
        "Dear Zoë,\n\nyour invoice is attached. Thank you!\n",
        from_=SENDER,
        subject="Invoice № 2026-117 – thank you ☕",
        html='<p>Dear Zoë,</p><p>your invoice is attached. Thank you! <img src="cid:logo" alt="logo"></p>',
        inline={"logo": ("logo.png", png(64, 64, (52, 101, 164)))},
        attachments=[("Rechnung-2026-117.pdf", pdf("Invoice 2026-117: 42.00 EUR"))],
    )


def three_recipients() -> Letter:
    """A letter of which one recipient is served, one greylisted at first, one refused for good."""
    to = [READER, GREYLISTED, REFUSED]
    return Letter(to, "Three recipients, three outcomes.", from_=SENDER, subject="One of you is not there")


def batch(count: int) -> Iterator[Letter]:
    """So many letters sent in bulk; the relay is slow for the first."""
    for number in range(count):
        to = SLOW if number == 0 else f"subscriber-{number}@example.org"
        text = f"Hello, subscriber {number}.\n"
        yield Letter(to, text, from_=SENDER, subject=f"News for subscriber {number}", priority="bulk")


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(colour) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pdf(text: str) -> bytes:
    """Return a page with one line of text."""
    drawn = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
    ]
    page = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(page))
        page += f"{number} 0 obj\n{body}\nendobj\n".encode("ascii")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    tail = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return page + f"{tail}startxref\n{len(page)}\n%%EOF\n".encode("ascii")
