"""Every `postroom …` line in README and docs runs: page by page, in order, as an operator follows it.

A page has a ledger of its own, and before each line there are letters for it in the states that it may ask for. Who
asks is answered yes; what goes on until Ctrl-C gets its Ctrl-C. Names, choices and options of all other commands are
checked in unit/test_commands_of_docs.py.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from house import GROWING_S
from pages import PAGES, Command, commands
from postroom import Letter, LetterState, Postroom, RecipientState, Settings
from postroom.cli import main
from postroom.ledger import Recipient
from postroom.sending import new_letter
from postroom_worker.dev.capture import capture

PROGRAMS = {
    "chaos": "chaos/test_chaos.py runs it",
    "demo": "starts a server, a relay and a worker, which other tests do one by one",
    "dev": "the same, without an end",
    "exporter": "integration/test_metrics.py runs it",
    "flower": "integration/test_flower.py runs it",
}
"""What serves until it is stopped, or takes long, and is not started here: its options are checked all the same."""

ENDLESS = {"tail", "trace", "watch"}
"""What goes on until Ctrl-C."""

MAY_FAIL = {"doctor": "no worker is at work here, and the server keeps no file: it says so"}
"""What may end with status 1, and why."""

PATIENCE = {"doctor": ("--timeout", "0.1")}
"""Options that are added: there is no worker to wait for."""

NEEDED = {
    "cancel": LetterState.DEFERRED,
    "expire": LetterState.DEFERRED,
    "flush": LetterState.DEFERRED,
    "hold": LetterState.DEFERRED,
    "release": LetterState.HELD,
}
"""In which state the letter has to be that is named to a command; others are for one that failed."""

OF = {LetterState.DEFERRED: RecipientState.DEFERRED, LetterState.HELD: RecipientState.PENDING}
REPLY = {RecipientState.DEFERRED: "451 4.7.1 Greylisted", RecipientState.REFUSED: "550 5.1.1 No such mailbox here"}
LATER_MS = 4_000_000_000_000
EXAMPLE = "01m8550vsnwsymh6fes1t8v721"
"""The letter that pages name; or they say ID."""

FILES = {
    "people.csv": "name,email\nAnn,ann@example.org\n",
    "news.html": "<p>Dear {name}</p>",
    "letter.eml": "From: bob@example.org\r\nTo: ann@example.org\r\nSubject: hi\r\n\r\nhi\r\n",
}
"""What commands are given to read."""

RUN = {page: found for page in PAGES if (found := [c for c in commands(page) if c.words[0] == "postroom"])}


@pytest.fixture
def environment(
    empty_redis: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Settings with two relays and, as the pages have it, one Redis; and a folder with what commands read."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, newline="")
    with capture(tmp_path / "mail") as relay:
        tables = [f'[relays.{name}]\nurl = "{relay.url}"\n' for name in ("primary", "secondary")]
        Path("relays.toml").write_text("".join(tables))
        yield {
            "POSTROOM_REDIS_URL": empty_redis(),
            "POSTROOM_FROM": "bob@example.org",
            "POSTROOM_RELAYS": "relays.toml",
            "COLUMNS": "100",
        }


def put(postroom: Postroom, state: LetterState) -> str:
    """Record a letter that is in a state already; returns its id."""
    letter = Letter("ann@example.org", "hi", tags=["spring", "invoice"], settings=postroom.settings)
    new, _ = new_letter(letter, postroom.settings)
    whom = OF.get(state, RecipientState.REFUSED)
    to = Recipient("ann@example.org", whom, REPLY.get(whom, ""), 1)
    assert postroom.ledger.accept(replace(new, state=state, recipients=[to], due_ms=LATER_MS)) == "accepted"
    return letter.id


def meant(words: list[str]) -> click.Command:
    """Return the command that words name: ``relay pause`` is one of two."""
    found: click.Command = main
    for word in words:
        if isinstance(found, click.Group) and not word.startswith("-"):
            below = found.get_command(click.Context(found), word)
            assert below, word
            found = below
    return found


@contextmanager
def interrupted(after_s: float) -> Iterator[None]:
    """Have Ctrl-C come after a while."""
    main_thread = threading.main_thread().ident
    assert main_thread
    timer = threading.Timer(after_s, signal.pthread_kill, [main_thread, signal.SIGINT])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def run(command: Command, environment: dict[str, str], letter: Callable[[LetterState], str]) -> Result:
    """Run a line of a page."""
    name, *words = command.words[1:]
    named = letter(NEEDED.get(name, LetterState.FAILED))
    words = [name, *(named if word in (EXAMPLE, "ID") else word for word in words)]
    if any("--yes" in each.opts for each in meant(words).params):
        words.append("--yes")
    words += PATIENCE.get(name, ())
    if name not in ENDLESS or {"--no-follow", "--times"} & set(words):
        return CliRunner().invoke(main, words, env=environment)
    for after_s in GROWING_S:  # it has to be under way by then
        with suppress(KeyboardInterrupt), interrupted(after_s):
            found = CliRunner().invoke(main, words, env=environment)
            if "Aborted!" not in found.output:
                return found
    raise TimeoutError(f"{words} has not begun in {GROWING_S[-1]:g} s")


@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run_one_after_the_other(page: str, environment: dict[str, str]) -> None:
    postroom = Postroom(Settings.from_environment(environment))
    for command in RUN[page]:
        if command.words[1] in PROGRAMS:
            continue
        for state in (LetterState.FAILED, LetterState.DEFERRED, LetterState.HELD):
            put(postroom, state)
        result = run(command, environment, lambda state: put(postroom, state))
        expected = (0, 1) if command.words[1] in MAY_FAIL else (0,)
        assert result.exit_code in expected, f"{command}\n{result.output}"
    postroom.ledger.redis.close()


def test_a_misspelt_command_fails(environment: dict[str, str]) -> None:
    for line in ("postroom list --stat failed", "postroom stats --shap", "postroom list --state faild"):
        result = CliRunner().invoke(main, line.split()[1:], env=environment)
        assert result.exit_code == 2, line
