"""What composing costs, beside the standard library's two ways, in one run: ``python benchmarks/compose.py``.

All contenders of a table take turns, round by round, so that whatever else the machine does meets them alike; a
number is the median of the rounds. Times differ from machine to machine: compare ratios.

Peers do their best, too: of a thousand copies, EmailMessage keeps its bodies and only replaces two fields.
"""

from __future__ import annotations

import argparse
import binascii
import email
import json
import os
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, compat32, default
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import perf_counter
from typing import Any

from machine import environment
from postroom import Letter, Settings, make_mime_part
from postroom.mime.part import Part
from postroom.mime.stored import Stored

SUBJECT = "Ihre Bestellung ist unterwegs – schöne Grüße"
TEXT = (
    "Guten Tag,\n\n" + "Ihre Bestellung ist unterwegs und kommt am Mittwoch an.\n" * 9 + "\nMit freundlichen Grüßen\n"
)
HTML = (
    "<html><body>\n" + "<p>Ihre Bestellung ist <b>unterwegs</b> und kommt am Mittwoch an.</p>\n" * 20 + "<p>Grüße</p>\n"
)
AUTHOR, RECIPIENT = "Bob <bob@example.org>", "Ann Müller <ann@example.com>"
DATE, MESSAGE_ID = "Mon, 23 Nov 2026 21:00:00 +0000", "<4711@example.org>"
MIB = 1024 * 1024
SETTINGS = Settings()
CRLF = compat32.clone(linesep="\r\n")


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to compose: what is at hand before, and what is timed."""

    name: str
    prepare: Callable[[int], Any]
    """From the number of a letter to what `run` takes; not timed."""
    run: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    name: str
    us: float
    ratio: float
    """How many times the first line's."""


def emailmessage(to: str = RECIPIENT, subject: str = SUBJECT) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    for name, value in headers(to, subject):
        message[name] = value
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message


def mimemultipart(to: str = RECIPIENT, subject: str = SUBJECT) -> MIMEMultipart:
    message: MIMEMultipart = MIMEMultipart("alternative", policy=CRLF)
    for name, value in headers(to, subject):
        message[name] = value
    message.attach(MIMEText(TEXT, "plain", "utf-8"))
    message.attach(MIMEText(HTML, "html", "utf-8"))
    return message


def headers(to: str, subject: str) -> list[tuple[str, str]]:
    return [("From", AUTHOR), ("To", to), ("Subject", subject), ("Date", DATE), ("Message-ID", MESSAGE_ID)]


def letter(to: str = RECIPIENT, subject: str = SUBJECT, **content: Any) -> Letter:
    return Letter(to, from_=AUTHOR, subject=subject, settings=SETTINGS, **(content or {"message": TEXT, "html": HTML}))


def fresh_letters() -> list[Contender]:
    """A small letter of which nothing was rendered before: what a worker meets."""
    stored = letter().to_json()

    def read(_: object) -> Letter:
        return Letter.from_json(stored, SETTINGS)

    return [
        Contender("Postroom: `octets()`", read, Letter.octets),
        Contender("Postroom: `from_json()`, then `octets()`", lambda _: None, lambda _: read(_).octets()),
        Contender("Postroom: `Letter(…)`, then `octets()`", lambda _: None, lambda _: letter().octets()),
        Contender("`MIMEMultipart`", lambda _: None, lambda _: mimemultipart().as_bytes()),
        Contender("`EmailMessage(policy=SMTP)`", lambda _: None, lambda _: emailmessage().as_bytes()),
    ]


def copies() -> list[Contender]:
    """Letters that differ in recipient and subject only."""
    bodies = {"message": make_mime_part(TEXT), "html": make_mime_part(HTML, content_type="text/html")}
    kept = emailmessage()

    def copy(number: int) -> Letter:
        return letter(f"{number}@example.com", f"{number}: {SUBJECT}", **bodies)

    def replaced(number: int) -> bytes:
        for name, value in (("To", f"{number}@example.com"), ("Subject", f"{number}: {SUBJECT}")):
            del kept[name]
            kept[name] = value
        return kept.as_bytes()

    return [
        Contender("Postroom: `octets()`", copy, Letter.octets),
        Contender(
            "Postroom: `Letter(…)`, then `octets()`", lambda number: number, lambda number: copy(number).octets()
        ),
        Contender("`EmailMessage`, two fields replaced", lambda number: number, replaced),
        Contender(
            "`MIMEMultipart`, anew",
            lambda number: number,
            lambda number: mimemultipart(f"{number}@example.com", f"{number}: {SUBJECT}").as_bytes(),
        ),
    ]


def attachments(size: int) -> list[Contender]:
    """An attachment of so many octets, never rendered before."""
    octets = os.urandom(size)

    def attached(_: int) -> Letter:
        return letter(message=TEXT, attachments=[("a.bin", octets)])

    def by_emailmessage(_: None) -> bytes:
        message = emailmessage()
        message.add_attachment(octets, "application", "octet-stream", filename="a.bin")
        return message.as_bytes()

    return [
        Contender(
            "`binascii.b2a_base64` and one copy", lambda _: None, lambda _: bytearray(binascii.b2a_base64(octets))
        ),
        Contender("Postroom: `octets()`", attached, Letter.octets),
        Contender("Postroom: `as_bytes()`", attached, Letter.as_bytes),
        Contender("`EmailMessage(policy=SMTP)`", lambda _: None, by_emailmessage),
    ]


def measure(contenders: Sequence[Contender], rounds: int, letters: int) -> list[Row]:
    """Let the contenders take turns; in each round each composes so many letters."""
    took: dict[str, list[float]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for contender in contenders:
            run, prepared = contender.run, [contender.prepare(number) for number in range(letters)]
            began = perf_counter()
            for each in prepared:
                run(each)
            took[contender.name].append((perf_counter() - began) / letters * 1e6)
    us = {name: median(times) for name, times in took.items()}
    first = us[contenders[0].name]
    return [Row(name, round(value, 1), round(value / first, 2)) for name, value in us.items()]


def peaks(size: int) -> dict[str, float]:
    """Return the peak memory of composing a letter with such an attachment, as a multiple of its encoded size.

    Each in a process of its own: at the caller, who attaches a file, and at the worker, who reads the octets from the
    ledger. The attachment itself counts.
    """
    with NamedTemporaryFile() as file:
        file.write(os.urandom(64) * (size // 64))
        file.flush()
        command = [sys.executable, __file__, "--peak", file.name]
        return {
            f"{who}, {how}": float(subprocess.check_output([*command, who, how]))
            for who in ("caller", "worker")
            for how in ("tracemalloc", "ru_maxrss")
        }


def peak(path: str, who: str, how: str) -> float:
    """Compose once, in this process, and return its peak memory as a multiple of the encoded size."""
    stored = Stored("0" * 64, Path(path).stat().st_size)
    part = Part("application/octet-stream", stored, encoding="base64", disposition="attachment", name="a.bin")
    text = letter(message=TEXT, attachments=[part]).to_json()
    letter().octets()
    if how == "tracemalloc":
        tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if who == "caller":
        chunks = letter(message=TEXT, attachments=[path]).octets()
    else:
        chunks = Letter.from_json(text, SETTINGS).octets(lambda _: Path(path).read_bytes())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    most = tracemalloc.get_traced_memory()[1] if how == "tracemalloc" else grown
    return round(most / sum(map(len, chunks)), 2)


def same_content() -> None:
    """Make sure that all contenders say the same."""
    for each in (letter(), emailmessage(), mimemultipart()):
        read = email.message_from_bytes(each.as_bytes(), policy=default)
        text, html = read.get_body(["plain"]), read.get_body(["html"])
        assert text is not None
        assert html is not None
        assert read["subject"] == SUBJECT
        for part, content in ((text, TEXT), (html, HTML)):
            assert part.get_content().replace("\r\n", "\n").strip() == content.strip()


def shown(rows: Sequence[Row]) -> str:
    lines = ["| what | µs | ratio |", "| --- | ---: | ---: |"]
    return "\n".join(lines + [f"| {row.name} | {row.us:,.1f} | {row.ratio:,.2f} |" for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--rounds", type=int, default=15, help="of which the median is taken (default: %(default)s)")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        print(peak(*given.peak))
        return
    same_content()
    told = environment("msgspec", "email-validator", "idna")
    print("\n".join(f"{name}: {value}" for name, value in told.items()))
    small = len(TEXT.encode()) + len(HTML.encode())
    tables = {
        f"A small letter: text and html, {small:,} octets (aim: 60 µs, EmailMessage 20 times as long)": measure(
            fresh_letters(), given.rounds, 100
        ),
        "One of 1,000 copies that differ in recipient and subject": measure(copies(), max(3, given.rounds // 3), 1000),
        "An attachment of 1 MB (aim: 1.3)": measure(attachments(MIB), given.rounds, 3),
    }
    for title, rows in tables.items():
        print(f"\n## {title}\n\n{shown(rows)}")
    memory = peaks(25_000_000)
    print("\n## Peak memory with an attachment of 25 MB, in encoded sizes (aim: below 2.5)\n")
    print("| who, measured by | peak |\n| --- | ---: |")
    print("\n".join(f"| {name} | {value:.2f} |" for name, value in memory.items()))
    if given.json:
        kept = {title: [asdict(row) for row in rows] for title, rows in tables.items()}
        Path(given.json).write_text(json.dumps({"environment": told, "tables": kept, "peaks": memory}, indent=1) + "\n")


if __name__ == "__main__":
    main()
