"""Writes the pages of the docs that are tables of the code: settings, states, replies. ``--check`` says which are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from postroom import settings, states
from postroom_worker import outcome

DOCS = Path(__file__).parent
_NOTE = "<!-- made by docs/generate.py: change the code, then `make docs` -->\n\n"


def settings_page() -> str:
    """Every setting."""
    intro = "All settings are environment variables, and each has a default. Times are in seconds.\n\n"
    return f"# Settings\n\n{_NOTE}{intro}{settings.table()}"


def states_page() -> str:
    """Every state, and the edges between them."""
    edges = [
        f"    {source} --> {target}"
        for source, targets in states.EDGES.items()
        for target in states.LetterState
        if target in targets
    ]
    letters = [f"| `{each}` | {states.LETTER_STATES[each]} |" for each in states.LetterState]
    recipients = [f"| `{each}` | {states.RECIPIENT_STATES[each]} |" for each in states.RecipientState]
    head = ["| state | what it means |", "| --- | --- |"]
    return "\n".join(
        [
            f"# States\n\n{_NOTE}## Of a letter\n",
            *head,
            *letters,
            "\n```mermaid\nstateDiagram-v2",
            *edges,
            "```\n\n## Of a recipient\n",
            *head,
            *recipients,
            "",
        ]
    )


def replies_page() -> str:
    """Every row of the table of outcomes."""
    rows = [
        f"| {row.phase} | {row.code} | {row.enhanced} | {row.outcome} | {row.scope} | {'yes' if row.alert else ''} "
        f"| {row.why} |"
        for row in outcome.table()
    ]
    intro = (
        "What a relay's reply, or its absence, means. Read from the top; the first row that fits decides. "
        "`x` is any digit, `*` anything.\n"
    )
    head = ["| phase | code | enhanced | outcome | scope | alert | why |", "| --- | --- | --- | --- | --- | --- | --- |"]
    return "\n".join([f"# Replies and outcomes\n\n{_NOTE}{intro}", *head, *rows, ""])


PAGES = {"settings.md": settings_page, "states.md": states_page, "replies.md": replies_page}


def main() -> int:
    """Write the pages, or check them."""
    stale = []
    for name, page in PAGES.items():
        path = DOCS / name
        text = page()
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
