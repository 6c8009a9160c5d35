"""The command's pure pieces: how text, times and accounts are shown, and what it says before there is a ledger."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from postroom import LetterState, LetterStatus, RecipientState, RecipientStatus
from postroom.cli import main, output
from postroom.cli.act import ACTS
from postroom.cli.choice import Choice, counted
from postroom.cli.look import last_word, letters_view
from postroom.cli.show import account_view
from postroom.cli.timeline import timeline
from postroom.ledger import Account
from postroom.ledger.query import Query
from postroom.states import EDGES

NOW_S = 1_785_000_000.0
HOSTILE = "\x1b]0;owned\x07[bold]x[/foo] \u202egnp.exe\r\x1b[2J\x9b1m :smile:"
SHOWN = r"\x1b]0;owned\x07[bold]x[/foo] \u202egnp.exe\r\x1b[2J\x9b1m :smile:"


def seen(view: RenderableType, width: int = 100) -> str:
    """What a terminal of this width shows, without colours."""
    screen = io.StringIO()
    Console(file=screen, width=width, markup=True, emoji=True).print(view)  # as dangerous as a console can be
    return screen.getvalue()


def letter(
    state: LetterState = LetterState.SENT,
    recipients: Mapping[str, RecipientStatus] | None = None,
    *,
    letter_id: str = "01m856px24ha5cnym1136cb6zp",
    subject: str = "lunch",
    reason: str = "",
    next_attempt_at: float | None = None,
) -> LetterStatus:
    return LetterStatus(
        id=letter_id,
        state=state,
        recipients=dict(recipients or {"ann@example.com": RecipientStatus(RecipientState.PENDING, "", 0)}),
        attempts=1,
        next_attempt_at=next_attempt_at,
        reason=reason,
        accepted_at=NOW_S - 125,
        subject=subject,
        sender="bob@example.com",
    )


def accepted(reply: str = "250 2.0.0 OK") -> RecipientStatus:
    return RecipientStatus(RecipientState.ACCEPTED, reply, 1)


def refused(reply: str = "550 5.1.1 No such mailbox") -> RecipientStatus:
    return RecipientStatus(RecipientState.REFUSED, reply, 1)


# --- text from outside ----------------------------------------------------------------------------------------------


def test_text_from_outside_is_shown_as_it_is_but_for_what_a_terminal_would_obey() -> None:
    assert seen(output.data(HOSTILE)).rstrip("\n") == SHOWN


def test_text_without_end_is_cut() -> None:
    assert len(output.data("x" * 4_000_000).plain) == 500


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_a_hostile_letter_harms_no_view(width: int) -> None:
    status = letter(LetterState.FAILED, {"ann@example.com": refused(HOSTILE)}, subject=HOSTILE, reason=HOSTILE)
    attempt = {
        "event": "attempt",
        "at_ms": 0,
        "number": 1,
        "relay": HOSTILE,
        "took_ms": 3,
        "recipients": [{"address": HOSTILE, "state": "refused", "reply": HOSTILE}],
        "next_in_ms": None,
    }
    happened = {"event": HOSTILE, "at_ms": 0, "by": HOSTILE, "why": HOSTILE}
    for view in (letters_view([status], NOW_S), account_view(Account(status, (attempt, happened), int(NOW_S * 1000)))):
        shown = seen(view, width)
        assert "\x1b" not in shown
        assert all(char.isprintable() or char == "\n" for char in shown)
        assert r"\x1b]0" in shown.replace("\n", "")


def test_json_is_one_ascii_line_that_reads_back_as_the_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"subject": HOSTILE + "請求書"})
    line = capsys.readouterr().out
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line) == {"subject": HOSTILE + "請求書"}


# --- times and numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (86_399, "23h"),
        (86_400, "1d"),
        (8_640_000, "100d"),
    ],
)
def test_a_span_is_told_in_its_largest_whole_unit(seconds: float, shown: str) -> None:
    assert output.span(seconds) == shown


def test_a_number_stands_with_its_noun() -> None:
    assert [output.count(number) for number in (0, 1, 1200)] == ["0 letters", "1 letter", "1,200 letters"]


# --- a list of letters ----------------------------------------------------------------------------------------------


def test_a_letter_is_a_line_with_what_was_last_said_below() -> None:
    deferred = RecipientStatus(RecipientState.DEFERRED, "451 4.7.1 Greylisted", 1)
    status = letter(
        LetterState.DEFERRED, {"ann@example.com": accepted(), "eve@example.com": deferred}, next_attempt_at=NOW_S + 42.5
    )
    assert seen(letters_view([status], NOW_S)).splitlines() == [
        "ID                          STATE       AGE  NEXT  TO · SUBJECT · LAST REPLY",
        "01m856px24ha5cnym1136cb6zp  deferred     2m   42s  ann@example.com +1 · lunch",
        "                            451 4.7.1 Greylisted",
    ]


def test_an_id_is_never_cut_and_a_line_never_wraps() -> None:
    long_id = "key-" + "0" * 60
    shown = seen(letters_view([letter(letter_id=long_id, subject="請求書" * 99), letter()], NOW_S), 80).splitlines()
    assert len(shown) == 3
    assert shown[1].startswith(long_id)
    assert shown[1].endswith("…")


@pytest.mark.parametrize(("left_s", "shown"), [(3600, "1h"), (0.5, "now"), (-9, "now")])
def test_what_is_due_is_due_now(left_s: float, shown: str) -> None:
    status = letter(LetterState.SCHEDULED, next_attempt_at=NOW_S + left_s)
    assert seen(letters_view([status], NOW_S)).splitlines()[1].split()[3] == shown


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (letter(LetterState.HELD, {"a@b.c": refused()}, reason="wrong attachment"), "wrong attachment"),
        (letter(LetterState.REJECTED, reason="to: there is no recipient"), "to: there is no recipient"),
        (letter(LetterState.FAILED, {"a@b.c": refused("550 no")}, reason="given up"), "550 no"),
        (letter(LetterState.PARTIAL, {"a@b.c": accepted("250 yes"), "d@b.c": refused("550 no")}), "550 no"),
        (letter(LetterState.FAILED, reason="its time was over (expires_in)"), "its time was over (expires_in)"),
        (letter(LetterState.SENT, {"a@b.c": accepted("250 yes")}), "250 yes"),
        (letter(LetterState.QUEUED), ""),
    ],
)
def test_the_last_word_is_what_matters_most_to_who_has_to_act(status: LetterStatus, word: str) -> None:
    assert last_word(status) == word


# --- the account of one letter --------------------------------------------------------------------------------------


def attempt(number: int, *, at_ms: int, reply: str, state: str, next_in_ms: int | None = None) -> dict[str, object]:
    recipients = [{"address": "ann@example.com", "state": state, "reply": reply}]
    return {
        "event": "attempt",
        "at_ms": at_ms,
        "number": number,
        "relay": "mx",
        "took_ms": 1200,
        "recipients": recipients,
        "next_in_ms": next_in_ms,
    }


def told(*events: dict[str, object]) -> list[str]:
    """The lines of a timeline, without the times in front."""
    return [line[21:].rstrip() for line in seen(timeline(events)).splitlines()]


def test_an_attempt_tells_relay_time_and_replies_and_when_the_next_is_due() -> None:
    first, reply, due = told(
        attempt(1, at_ms=60_000, reply="451 4.7.1 Greylisted", state="deferred", next_in_ms=90_000)
    )
    assert first == "attempt 1 through mx, 1,200 ms"
    assert reply == "ann@example.com  deferred  451 4.7.1 Greylisted"
    assert due == f"next attempt at {output.moment(150)}, 1m later"


def test_an_attempt_that_failed_through_the_relays_fault_does_not_count() -> None:
    lines = told(
        attempt(0, at_ms=0, reply="421 going down", state="deferred", next_in_ms=0),
        attempt(1, at_ms=0, reply="250 OK", state="accepted"),
        attempt(1, at_ms=0, reply="421 going down", state="deferred", next_in_ms=0),
    )
    heads = [line for line in lines if line.startswith("attempt")]
    assert [head.partition(" through")[0] for head in heads] == [
        "attempt that does not count",
        "attempt 1",
        "attempt that does not count",
    ]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "queued"}, "accepted, ready to be sent"),
        ({"event": "scheduled"}, "accepted, to be sent when its time comes"),
        ({"event": "retried", "by": "ann@desk", "why": "mended"}, "retried by ann@desk: mended"),
        ({"event": "cancelled", "by": "", "why": ""}, "cancelled"),
        ({"event": "held", "why": "uncertain 3 times"}, "held: uncertain 3 times"),
        ({"event": "died", "deaths": 1}, "its worker was lost, before the relay could have accepted it"),
        ({"event": "of tomorrow", "why": "progress"}, "of tomorrow: progress"),
    ],
)
def test_what_happened_is_told_in_words_with_who_and_why(event: dict[str, object], line: str) -> None:
    assert told({"at_ms": 0, **event}) == [line]


def test_a_letter_that_waits_tells_until_when() -> None:
    first, due = told({"event": "waits", "at_ms": 0, "why": "relay mx is paused: 421 busy", "wait_ms": 5000})
    assert first == "not tried: relay mx is paused: 421 busy"
    assert due == f"next attempt at {output.moment(5)}, 5s later"


# --- choosing letters -----------------------------------------------------------------------------------------------

DEFERRED, FAILED, HELD = LetterState.DEFERRED, LetterState.FAILED, LetterState.HELD


def test_letters_are_chosen_by_ids_or_by_states() -> None:
    assert Choice.of(("x", "x"), {"states": ()}, {FAILED, HELD}) == Choice(("x",), None)
    assert Choice.of((), {"states": ("failed",)}, {FAILED, HELD}) == Choice((), Query(states=(FAILED,)))


def test_a_filter_without_a_state_means_all_states_that_the_act_is_for() -> None:
    asked = Query(states=(FAILED, HELD), tags=("spring",))
    assert Choice.of((), {"states": (), "tags": ("spring",), "code": None}, {HELD, FAILED}) == Choice((), asked)


def test_a_command_for_letters_of_one_state_means_all_of_them() -> None:
    assert Choice.of((), {}, {DEFERRED}) == Choice((), Query(states=(DEFERRED,)))


@pytest.mark.parametrize(("ids", "states"), [((), ()), (("x",), ("failed",))])
def test_a_choice_that_is_not_clear_is_refused(ids: tuple[str, ...], states: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        Choice.of(ids, {"states": states}, {FAILED, HELD})


def test_letters_are_counted_by_the_state_they_were_chosen_in() -> None:
    assert counted(Counter({FAILED: 2, HELD: 1})) == "2 failed, 1 held letters"
    assert counted(Counter({None: 1})) == "1 letter"


def test_every_act_that_changes_a_state_follows_the_edges() -> None:
    to = {
        "retry": LetterState.QUEUED,
        "flush": LetterState.QUEUED,
        "release": LetterState.QUEUED,
        "cancel": LetterState.CANCELLED,
        "hold": LetterState.HELD,
        "expire": LetterState.FAILED,
    }
    for act in ACTS:
        assert all(to[act.name] in EDGES[state] for state in act.states if act.name in to), act.name


# --- usage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["list", "--state", "nonsense"],
        ["list", "--limit", "-1"],
        ["show"],
        ["show", "an id with blanks"],
        ["show", "x" * 65],
        ["retry"],
        ["retry", "x", "--state", "failed"],
        ["retry", "--state", "sent"],
        ["hold", "--state", "failed"],
        ["cancel", "../x"],
        ["send", "hi"],
        ["send", "hi", "--to", "ann@example.com"],
        ["send", "hi", "--to", "ann@example.com", "--from", "bob@example.com", "--attach", "/no/such/file"],
    ],
)
def test_usage_that_makes_no_sense_is_refused_before_the_ledger_is_asked(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments, env={"POSTROOM_REDIS_URL": "redis://127.0.0.1:1/0"})
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("name", ["", *main.commands])
def test_every_command_has_help_whatever_the_environment_says(name: str) -> None:
    arguments = [name, "--help"] if name else ["--help"]
    result = CliRunner().invoke(main, arguments, env={"POSTROOM_REDIS_URL": "nonsense", "POSTROOM_LEASE_S": "x"})
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("postroom rele", ["release"]),
        ("postroom list --st", ["--state"]),
        ("postroom list --state fa", ["failed"]),
        ("postroom hold --state ", ["deferred", "queued", "scheduled"]),
        ("postroom de", ["demo", "dev"]),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes_commands_options_and_states(shell: str, words: str, completed: list[str]) -> None:
    word = words.split(" ")[-1]
    place = word if shell == "fish" else str(words.count(" "))
    environment = {"_POSTROOM_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": place}
    result = CliRunner().invoke(main, env=environment, prog_name="postroom")
    found = [line.partition(",")[2].partition("\t")[0] for line in result.stdout.splitlines()]
    assert [each for each in found if each] == completed


def test_help_tells_how_to_switch_completion_on() -> None:
    assert 'eval "$(_POSTROOM_COMPLETE=bash_source postroom)"' in CliRunner().invoke(main, ["--help"]).stdout


def test_a_setting_that_cannot_be_read_is_told_in_a_sentence() -> None:
    result = CliRunner().invoke(main, ["stats"], env={"POSTROOM_LEASE_S": "soon"})
    assert result.exit_code == 1
    assert result.stderr == "Error: POSTROOM_LEASE_S has to be a number\n"


def test_a_ledger_that_is_away_is_told_in_a_sentence() -> None:
    result = CliRunner().invoke(main, ["--redis-url", "redis://127.0.0.1:1/0", "stats"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Redis ")
    assert result.stderr.endswith("start it, or see POSTROOM_REDIS_URL\n")
    assert result.stderr.count("\n") == 1


# --- commands that other packages bring -----------------------------------------------------------------------------


def without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a Python that has no such module."""
    program = f"import sys; sys.modules[{module!r}] = None; from postroom.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_does_not_import_the_worker() -> None:
    program = "import sys, postroom.cli; sys.exit(any(name.startswith('postroom_worker') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("arguments", [("demo",), ("demo", "--help"), ("demo", "--folder", "x")])
def test_a_command_whose_extra_is_missing_says_what_to_install(arguments: tuple[str, ...]) -> None:
    result = without("aiosmtpd", *arguments)
    assert result.returncode == 1
    assert result.stderr == (
        "Error: `postroom demo` needs aiosmtpd, which is not installed: "
        "pip install 'postroom[embedded,metrics,worker]'\n"
    )


def test_help_lists_a_command_whose_extra_is_missing() -> None:
    result = without("aiosmtpd", "--help")
    assert result.returncode == 0
    assert "`postroom demo` needs aiosmtpd" in result.stdout


@pytest.mark.parametrize("command", ["demo", "chaos"])
def test_a_folder_that_holds_what_is_not_ours_is_not_emptied(command: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    result = CliRunner().invoke(main, [command, "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert f"{tmp_path} is not empty" in result.output.replace("\n", "")
    assert (tmp_path / "precious").read_text() == "mine"
