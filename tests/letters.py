"""Letters to test with: whatever hypothesis thinks of, and a fixed corpus that covers every shape and script."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from japanese import TEXT as JAPANESE
from postroom import Group, Letter, Mailbox, Part, make_mime_part
from postroom.settings import Settings

SETTINGS = Settings(from_="Bob <bob@example.org>")
BORN_MS = 1_764_000_000_000
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3
PDF = b"%PDF-1.7\n" + bytes(range(255, -1, -1)) * 4
INVITATION = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//example//test//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
    "UID:4711@example.org\r\nDTSTAMP:20251124T160000Z\r\nDTSTART:20251201T090000Z\r\nSUMMARY:Frühstück\r\n"
    "ORGANIZER:mailto:bob@example.org\r\nATTENDEE:mailto:ann@example.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
FAMILY = "👨‍👩‍👧‍👦"


def letter(to: Any = "ann@example.com", message: Any = "hi!", **keywords: Any) -> Letter:
    """Make a letter; what is not said is plain."""
    return Letter(to, message, **{"settings": SETTINGS, **keywords})


def lines_as_read(text: str) -> str:
    """A text with the line ends that a reader sees."""
    return re.sub("\r\n?", "\n", text)


def as_arrived(text: str) -> str:
    """What a reader sees of a text: a byte order mark before it is no part of it."""
    return lines_as_read(text.removeprefix("\ufeff"))


# --- whatever hypothesis thinks of -----------------------------------------------------------------------------------

WORDS = [
    "a", "Genève", "größer", "Ελλάδα", "привет", "שלום", "مرحبا", "नमस्ते", "ทดสอบ", "日本語", "한국어", "👍🏽", FAMILY,
    "🇩🇪", "e\u0301", "\u0301", "\u200d", "\ufeff", "\u00a0", "\u2028", "\u202e", "\u3000", '"', "\\", "'", ",", ";",
    ":", "<", ">", "@", "(", ")", "[", ".", "%", "*", "?", "=", "=?", "?=", "_", "=?utf-8?q?=0A?=", "=3D", "utf-8''x",
    "x" * 75, "x" * 130, "日" * 40, " ", "   ", "",
]  # fmt: skip
_any_line = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
_composed = st.lists(st.sampled_from(WORDS), max_size=12).flatmap(
    lambda words: st.sampled_from([" ".join(words), "".join(words)])
)
lines = _any_line | _composed
"""Whatever a header field may say."""

_PIECES = [*WORDS, "\n", "\n", "\r\n", "\r", ".", "\n.\n", "\r\n.\r\n", "\n..", "\n .", "\nFrom ", "--", "--=_", "\t",
           "\x0b", "\x0c", "\x1c", "\x85", "\x00", "x" * 1200, "日" * 400, "</p>", "&nbsp;", "=\n"]  # fmt: skip
texts = st.lists(st.sampled_from(_PIECES), max_size=20).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=80
)
"""Whatever a body may say."""

_LOCALS = ["ann", "o'neil+tag", "a.b.c", "x" * 64, '"a;b"', '"a\\"b"', "-oQ", "a=b", "{}"]
_DOMAINS = [
    "example.com",
    "EXAMPLE.com",
    "xn--bcher-kva.example",
    "bücher.example",
    "пример.рф",
    "localhost",
    "例え.jp",
]
_addresses = st.builds("{}@{}".format, st.sampled_from(_LOCALS), st.sampled_from(_DOMAINS))
mailboxes = st.builds(lambda name, address: (name, address), lines, _addresses)
groups = st.builds(
    lambda name, members: Group(name, tuple(Mailbox(address, name) for name, address in members)),
    lines.filter(lambda name: name.strip(" ") != ""),
    st.lists(mailboxes, max_size=3),
)
recipients = st.lists(mailboxes | groups, max_size=4)

_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\" + _BIDI)
    | st.sampled_from(list(" .\"';%*()=?éß日🙂\u0301")),
    min_size=1,
    max_size=60,
).filter(lambda name: name.strip(". ") != "")
"""File names."""

_octets = st.binary(max_size=200) | st.sampled_from([b"", b"\r", b"\n.\n", b"\0", PICTURE, b"\r\n--=_", b"\xff" * 100])
attachments = st.builds(lambda name, octets: (name, octets), names, _octets)
_bodies = st.builds(make_mime_part, texts, content_type=st.sampled_from(["text/plain", "text/html", "text/csv"]))
_files = st.builds(lambda pair: make_mime_part(pair[1], name=pair[0], attachment=True), attachments)
_ATTACHED_LETTER = "From: a@example.com\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nHello\n.\nthere\n"
_forwarded = st.builds(make_mime_part, st.just(_ATTACHED_LETTER), content_type=st.just("message/rfc822"))
trees = st.recursive(
    _bodies | _files | _forwarded,
    lambda below: st.builds(
        make_mime_part,
        subparts=st.lists(below, min_size=1, max_size=3),
        content_type=st.sampled_from(
            ["multipart/mixed", "multipart/alternative", "multipart/related", "multipart/report", "multipart/digest"]
        ),
        description=st.none() | lines,
    ),
    max_leaves=5,
)
"""Parts built by hand."""

_content = st.one_of(
    st.fixed_dictionaries({"message": texts}),
    st.fixed_dictionaries({"message": texts, "html": texts}),
    st.fixed_dictionaries({"html": texts, "text_from_html": st.booleans()}),
    st.fixed_dictionaries({"message": texts, "calendar": lines.map(lambda line: f"{INVITATION}X-NOTE:{line}\r\n")}),
    st.fixed_dictionaries(
        {
            "message": texts,
            "html": texts,
            "inline": st.dictionaries(st.sampled_from(["logo", "a@b.c", "x-1"]), attachments, min_size=1),
        }
    ),
    st.fixed_dictionaries({"message": trees}),
)
keywords: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda to, some, content, rest: {"to": to, **some, **content, **rest},
    recipients,
    st.fixed_dictionaries({"bcc": st.lists(mailboxes, min_size=1, max_size=2)}),
    _content,
    st.fixed_dictionaries(
        {"from_": mailboxes},
        optional={
            "cc": recipients,
            "reply_to": recipients,
            "subject": lines,
            "headers": st.lists(st.tuples(st.sampled_from(["X-Note", "Comments"]), lines), max_size=3),
            "attachments": st.lists(attachments, max_size=3),
        },
    ),
)
"""The keywords of whole letters."""

# --- a fixed corpus --------------------------------------------------------------------------------------------------

_HTML = '<p>Good morning <b>Ann</b> &amp; all, <a href="https://example.org/?a=1&amp;b=2">Grüße</a></p>'
_FORWARDED = "From: a@example.com\r\nTo: b@example.com\r\nSubject: inner\r\n\r\nthe inner letter\r\n"


def _nested() -> Part:
    part = make_mime_part("the innermost text")
    for number in range(8):
        part = make_mime_part(
            subparts=[part, make_mime_part(f"level {number}", name=f"level-{number}.txt", attachment=True)]
        )
    return part


def _report() -> Part:
    return make_mime_part(
        subparts=[
            make_mime_part("Your letter could not be delivered."),
            make_mime_part(
                "Reporting-MTA: dns; mx.example.org\n\nAction: failed\n", content_type="message/delivery-status"
            ),
            make_mime_part(_FORWARDED, content_type="message/rfc822"),
        ],
        content_type="multipart/report",
        parameters={"report-type": "delivery-status"},
    )


_CORPUS: dict[str, Callable[[], dict[str, Any]]] = {
    "a text": dict,
    "an empty text": lambda: {"message": ""},
    "a text of blank lines": lambda: {"message": "\n\n\n"},
    "a text with dots": lambda: {"message": ".\n..\n.a\nend\n.\n"},
    "a text with From": lambda: {"message": "From here\nFrom \n>From x\n"},
    "a text with trailing blanks": lambda: {"message": "a \nb\t\nc  "},
    "a long line": lambda: {"message": "x" * 5000 + "\nend\n"},
    "a long word of emoji": lambda: {"message": FAMILY * 200},
    "German": lambda: {"message": "Grüße aus Köln", "subject": "Übersicht für Ärzte"},
    "French": lambda: {"subject": "Bilan, Tribune de Genève et tous les autres journaux de la Suisse romande, été"},
    "Greek": lambda: {"message": "Καλημέρα κόσμε\n", "subject": "Ελλάδα"},
    "Russian": lambda: {"message": "Привет, мир!\n" * 20, "subject": "Привет " * 20},
    "Hebrew": lambda: {"message": "שלום עולם", "subject": "שלום (חדש)", "to": [("שלום כהן", "ann@example.com")]},
    "Arabic": lambda: {"message": "مرحبا بالعالم", "subject": "مرحبا"},
    "Hindi": lambda: {"message": "नमस्ते दुनिया", "subject": "नमस्ते"},
    "Thai": lambda: {"message": "สวัสดีชาวโลก", "subject": "ทดสอบ"},
    "Korean": lambda: {"message": "안녕하세요", "subject": "한국어 제목"},
    "Japanese": lambda: {"message": JAPANESE, "subject": "日本語の題名" * 10},
    "Japanese in ISO-2022-JP": lambda: {"message": make_mime_part(JAPANESE, charset="iso-2022-jp")},
    "Japanese in Shift_JIS": lambda: {"message": make_mime_part("日本語", charset="shift_jis")},
    "Chinese in GB18030": lambda: {"message": make_mime_part("中文内容", charset="gb18030")},
    "Latin in ISO-8859-1": lambda: {"message": make_mime_part("déjà vu\n", charset="iso-8859-1")},
    "emoji": lambda: {"message": f"{FAMILY} 👍🏽 🇩🇪", "subject": FAMILY * 30},
    "a subject like an encoded word": lambda: {"subject": "=?utf-8?q?a=0ABcc:=20e@x?= tail"},
    "a very long subject": lambda: {"subject": "word " * 150 + "end"},
    "names that need quotes": lambda: {
        "to": [("Lovelace, Ada", "ann@example.com"), ('Ada "Countess" L.', "a@example.com"), ("a\\b", "b@example.com")]
    },
    "names that need encoding": lambda: {
        "to": [("Müller, Hans", "ann@example.com"), ("山田 太郎", "t@example.jp"), ("Ünï" * 30, "u@example.com")]
    },
    "many recipients": lambda: {"to": [(f"Name {number}", f"user{number}@example.com") for number in range(60)]},
    "groups": lambda: {"to": "Team: ann@example.com, Bob <bob@example.com>;", "cc": "c@example.com"},
    "hidden recipients only": lambda: {"to": (), "bcc": ["h@example.com"]},
    "cc, bcc and reply-to": lambda: {"cc": "c@example.com", "bcc": "d@example.com", "reply_to": "Desk <e@example.com>"},
    "an international domain": lambda: {"to": "ann@bücher.example"},
    "text and html": lambda: {"html": _HTML},
    "html alone": lambda: {"message": None, "html": _HTML},
    "html and nothing else": lambda: {"message": None, "html": _HTML, "text_from_html": False},
    "text, html, a picture and a file": lambda: {
        "html": f'{_HTML}<img src="cid:logo">',
        "inline": {"logo": ("logo.png", PICTURE)},
        "attachments": [("invoice.pdf", PDF)],
    },
    "attachments alone": lambda: {"message": None, "attachments": [("a.pdf", PDF), ("b.bin", bytes(range(256)))]},
    "file names in many scripts": lambda: {
        "attachments": [
            (name, name.encode())
            for name in (
                "Übersicht.pdf",
                "日本語" * 30 + ".txt",
                "a;b.txt",
                'a"b.txt',
                "a b.txt",
                "naïve (1).csv",
                "a%20b",
            )
        ]
    },
    "an empty attachment": lambda: {"attachments": [("empty.bin", b"")]},
    "an invitation": lambda: {"calendar": INVITATION},
    "a forwarded letter": lambda: {"attachments": [make_mime_part(_FORWARDED, content_type="message/rfc822")]},
    "a report": lambda: {"message": _report()},
    "parts in parts": lambda: {"message": _nested()},
    "a newsletter": lambda: {
        "html": _HTML * 20,
        "subject": "News — №1",
        "list_unsubscribe": ["https://example.org/u?t=" + "t" * 150, "mailto:u@example.org"],
        "headers": {"List-Id": "News <news.example.org>", "Precedence": "bulk"},
        "priority": "bulk",
    },
    "an answer": lambda: {
        "headers": [
            ("In-Reply-To", "<1@example.com>"),
            ("References", " ".join(f"<{number}@mail.example.com>" for number in range(20))),
            ("Auto-Submitted", "auto-replied"),
        ],
        "envelope_from": "<>",
    },
    "reports asked for": lambda: {"notify": ["success", "delay"], "ret": "full", "envid": "a+b=c"},
}


def corpus() -> dict[str, Letter]:
    """Return the fixed letters by their names: the same at each call, in each process."""
    return {
        name: letter(**{"id": f"corpus-{number}", "date_ms": BORN_MS + number * 1000, "subject": name, **make()})
        for number, (name, make) in enumerate(_CORPUS.items())
    }
