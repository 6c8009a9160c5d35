"""What the pages of the docs hold: blocks of code, commands, headings and links."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
"""The text of each page, by its path."""

OUTSIDE = {
    "cd": "of the shell",
    "chmod": "of the system",
    "cp": "of the system",
    "curl": "asks a Flower that runs: integration/test_flower.py does",
    "docker": "needs an engine: unit/test_deploy.py reads what it would build and run",
    "echo": "of the shell",
    "git": "the repository is here already",
    "kubectl": "needs a cluster",
    "mkdir": "of the system",
    "openssl": "of the system",
    "python3": "of the system",
    "sendmail": "what a worker calls",
    "systemctl": "needs systemd",
    "systemd-run": "needs systemd",
    "umask": "of the shell",
}
"""Programs in the docs that no test runs, and why. What they name of ours is looked for all the same."""

OURS = {"postroom", "celery", "make", "pip", "export"}
"""Commands that are understood."""

OUTPUT = ("✓ a Redis-protocol server", "application ──send_letter()")
"""How blocks begin that are neither commands nor of a language: each is named here, lest a misspelt command is one."""

NO_COMMANDS = {"postroom accept", "postroom attempt", "postroom transaction"}
"""What looks like one: the names of spans, in metrics.md."""

_FENCE = re.compile(r"^ {0,3}(`{3,})\s*(\S*)")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s")
_ASSIGNED = re.compile(r"[A-Z][A-Z0-9_]*=")
_CUT = frozenset("|>;<")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code."""

    page: str
    line: int
    """Of its first line, from 1."""
    language: str
    """Empty when none is named."""
    text: str

    @property
    def is_console(self) -> bool:
        """Whether it holds commands."""
        if self.language:
            return self.language in ("console", "sh", "bash", "shell")
        words = self.text.split()
        return bool(words) and (Path(words[0]).name in OURS | OUTSIDE.keys() or bool(_ASSIGNED.match(words[0])))


@dataclass(frozen=True, slots=True)
class Command:
    """A command, as words: what comes behind a pipe, or goes to a file, is left out."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of code of a page, fenced and indented."""
    lines = PAGES[page].splitlines()
    at, is_in_list = 0, False
    while at < len(lines):
        if fence := _FENCE.match(lines[at]):
            end = next(n for n in range(at + 1, len(lines)) if lines[n].strip() == fence[1])
            yield Block(page, at + 2, fence[2], "\n".join(lines[at + 1 : end]))
            at = end
        elif lines[at].startswith("    ") and not is_in_list and not lines[at - 1].strip():
            end = next((n for n in range(at, len(lines)) if lines[n] and not lines[n].startswith("    ")), len(lines))
            yield Block(page, at + 1, "", "\n".join(line[4:] for line in lines[at:end]).rstrip())
            at = end - 1
        elif lines[at].strip() and not lines[at].startswith(" "):
            is_in_list = bool(_ITEM.match(lines[at]))
        at += 1


def prose(page: str) -> str:
    """Return a page without its blocks of code, line for line."""
    lines = PAGES[page].splitlines()
    for block in blocks(page):
        for at in range(block.line - 1, block.line - 1 + len(block.text.splitlines())):
            lines[at] = ""
    return "\n".join(lines)


def commands(page: str) -> Iterator[Command]:
    """Yield the commands in a page's blocks, in order."""
    for block in blocks(page):
        if block.is_console:
            at = block.line
            for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
                for words in _split(line.removeprefix("$ ")):
                    yield Command(page, at, words)
                at += 1


def mentioned(page: str) -> Iterator[Command]:
    """Yield the commands of ours that a page's prose mentions."""
    text = prose(page)
    for found in re.finditer(r"(?<!`)`((?:postroom|celery|make)\s[^`]+)`(?!`)", text):
        line = " ".join(found[1].split())
        for words in () if line in NO_COMMANDS else _split(line):
            yield Command(page, text.count("\n", 0, found.start()) + 1, words)


def _split(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    is_cut = False
    for word in lexer:
        if word == "&&":
            yield tuple(words)
            words, is_cut = [], False
        elif word in _CUT or is_cut:
            is_cut = True
        else:
            words.append(word)
    if words:
        yield tuple(words)


def slugs(page: str) -> Iterator[str]:
    """Yield the anchors of a page's headings."""
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.M):
        text = (
            unicodedata.normalize("NFKD", re.sub(r"[`*]|\]\([^)]*\)", "", heading)).encode("ascii", "ignore").decode()
        )
        yield re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def links(page: str) -> list[str]:
    """Return where a page's links lead."""
    without_code = re.sub(r"(`+).+?\1", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)", without_code)
