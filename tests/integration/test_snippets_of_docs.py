"""Every piece of Python in README and docs runs as it stands, page by page, with a worker at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from house import House
from pages import PAGES, ROOT, Block, blocks
from postroom import sending
from postroom.ledger.workers import workers
from postroom.settings import process_settings
from postroom_worker.dev.server import wait_until

SNIPPETS = {page: [each for each in blocks(page) if each.language == "python"] for page in PAGES}
FILES = {
    "catalogue.pdf": b"%PDF-1.7 a catalogue",
    "invitation.ics": b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//example.org//NONSGML docs//EN\r\nMETHOD:REQUEST\r\n"
    b"BEGIN:VEVENT\r\nUID:1@example.org\r\nDTSTAMP:20261125T100000Z\r\nDTSTART:20261201T190000Z\r\nSUMMARY:Dinner\r\n"
    b"END:VEVENT\r\nEND:VCALENDAR\r\n",
    "invoice.pdf": b"%PDF-1.7 an invoice",
    "letter.eml": b"From: bob@example.org\r\nTo: ann@example.org\r\nSubject: hi\r\n\r\nhi\r\n",
    "logo.png": b"\x89PNG\r\n\x1a\n",
}
"""What the pages attach."""


def run(block: Block, names: dict[str, object]) -> None:
    """Run a piece of Python; a traceback tells its line in the page."""
    above = "\n" * (block.line - 1)
    exec(compile(above + block.text, ROOT / block.page, "exec"), names)


@pytest.mark.parametrize("page", [page for page, found in SNIPPETS.items() if found])
def test_the_python_of_a_page_runs_as_it_stands(
    page: str, shared: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, octets in FILES.items():
        (tmp_path / name).write_bytes(octets)
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for cached in (process_settings, sending.default):
        cached.cache_clear()
    wait_until(lambda: workers(shared.ledger), "the worker has signed in")
    try:
        names: dict[str, object] = {"__name__": "page"}
        for block in SNIPPETS[page]:
            run(block, names)
    finally:
        sending.default().ledger.redis.close()
        for cached in (process_settings, sending.default):
            cached.cache_clear()
