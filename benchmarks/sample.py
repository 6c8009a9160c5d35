"""The letters that every row sends: one JSON object a line, whatever language reads them."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

SENDER = "shop@example.org"
ATTACHED = 1_000_000
"""Octets of an attachment."""
_TEXT = """Hello Reader {number},

your order {number:06d} left us this morning and is with the carrier now. You can follow it at
https://shop.example.org/orders/{number:06d} until it is with you. The total was 42.50 €, and nothing is left to pay.

{articles}
If something is not as you wished, answer this letter: somebody reads it, and puts it right. What you do not like you
may send back within thirty days, at our cost.

Grüße aus Köln
Your shop
"""
_HTML = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Order {number:06d}</title></head>
<body style="font-family: sans-serif; max-width: 40em">
<h1>Your order {number:06d} is on its way</h1>
<p>Hello Reader {number},</p>
<p>it left us this morning and is with the carrier now. <a href="https://shop.example.org/orders/{number:06d}">Follow
it</a> until it is with you. The total was <b>42.50 €</b>, and nothing is left to pay.</p>
<table>
{articles}</table>
<p>If something is not as you wished, answer this letter: somebody reads it, and puts it right. What you do not like
you may send back within thirty days, at our cost.</p>
<p>Grüße aus Köln<br>Your shop</p>
</body></html>
"""
_ARTICLES = (
    "Fountain pen, fine nib, blue, in a case of its own",
    "Ink, black, six cartridges, and six in royal blue",
    "Notebook A5, dotted, 192 pages, lies flat",
    "Envelopes C6, laid, fifty, lined with tissue",
    "Blotting paper, ten sheets",
)


def write(path: Path, count: int, *, attachments: bool = False) -> None:
    """Write so many letters: text and HTML of 2 KB together, each with another recipient, subject and bodies.

    Args:
        path: where to.
        count: how many.
        attachments: with one of 1 MB each, which do not compress and all differ.
    """
    noise = random.Random(1).randbytes(ATTACHED)
    with path.open("w") as out:
        for number in range(count):
            attachment = number.to_bytes(8, "big") + noise[8:]
            letter = {
                "from": SENDER,
                "to": f"reader-{number}@example.com",
                "subject": f"Order {number:06d} is on its way – thank you",
                "text": _TEXT.format(number=number, articles="".join(f"  1 × {each}\n" for each in _ARTICLES)),
                "html": _HTML.format(number=number, articles="".join(map(_row, _ARTICLES))),
                "attachment": base64.b64encode(attachment).decode() if attachments else None,
            }
            out.write(json.dumps(letter) + "\n")


def _row(article: str) -> str:
    return f"<tr><td>1</td><td>{article}</td></tr>\n"
