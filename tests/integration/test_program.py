"""A local program in place of a relay: what it is given, and what each of its ends means for the letter."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from house import GROWING_S, desk
from postroom import LedgerUnavailable, LetterState
from postroom.envelope import Envelope
from postroom_worker.outcome import Answer, Outcome, Phase, Silence, outcome
from postroom_worker.program import submit
from postroom_worker.relay import Relay
from postroom_worker.smtp.submission import Answers, Submission

ANN, BEN = "ann@example.com", "ben@example.com"
ENVELOPE = Envelope("bob@example.org", (ANN, BEN))
CONTENT = (b"Subject: hi\r\n\r\none\r", b"\n.\r\n..two\r\n")
LOCAL = b"Subject: hi\n\none\n.\n..two\n"

RECORD = """
import json, os, sys
letter = sys.stdin.buffer.read()
with open({folder!r} + "/given.json", "w") as file:
    json.dump([sys.argv[1:], letter.decode(), dict(os.environ), os.getcwd()], file)
"""

NewProgram = Callable[[str], Relay]


@pytest.fixture
def program(tmp_path: Path) -> NewProgram:
    """Makes a relay of a program: the lines are Python."""

    def make(lines: str) -> Relay:
        path = tmp_path / "send mail"
        path.write_text(f"#!{sys.executable} -IS\n{lines.format(folder=str(tmp_path))}")
        path.chmod(0o755)
        return Relay("local", "", 0, Relay.from_url("smtp+plain://h").security, program=(str(path), "-i"))

    return make


def submitted(relay: Relay, envelope: Envelope = ENVELOPE, timeout_s: float = 10) -> Answers:
    return submit(relay, Submission(envelope, CONTENT), lambda: True, timeout_s)


def answer(relay: Relay, timeout_s: float = 10) -> Answer:
    """The one answer for everybody."""
    [found] = set(submitted(relay, timeout_s=timeout_s).values())
    return found


def means(found: Answer) -> tuple[Outcome, bool]:
    return outcome(found).outcome, outcome(found).alert


def given(folder: Path) -> tuple[list[str], bytes]:
    arguments, letter, *_ = json.loads((folder / "given.json").read_text())
    return arguments, letter.encode()


def test_the_program_is_given_envelope_and_letter(program: NewProgram, tmp_path: Path) -> None:
    found = submitted(program(RECORD))
    assert given(tmp_path) == (["-i", "-f", "bob@example.org", "--", ANN, BEN], LOCAL)
    assert {each: means(found[each]) for each in found} == dict.fromkeys((ANN, BEN), (Outcome.ACCEPTED, False))


def test_the_null_reverse_path_and_what_reports_are_asked_for(program: NewProgram, tmp_path: Path) -> None:
    envelope = Envelope("", (ANN,), notify=("success", "delay"), ret="headers", envid="invoice 117")
    submitted(program(RECORD), envelope)
    options = ["-N", "success,delay", "-R", "hdrs", "-V", "invoice 117"]
    assert given(tmp_path)[0] == ["-i", "-f", "<>", *options, "--", ANN]


def test_addresses_are_utf_8_and_no_shell_reads_them(program: NewProgram, tmp_path: Path) -> None:
    paths = ("änn@bücher.example", '"$(touch x) `id`; |x"@example.com')
    submitted(program(RECORD), Envelope("bob@example.org", paths))
    assert given(tmp_path)[0][-2:] == list(paths)


def test_the_program_sees_nothing_of_our_environment(
    program: NewProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROOM_RELAY_URL", "smtps://us:secret@h")
    submitted(program(RECORD))
    *_, environment, folder = json.loads((tmp_path / "given.json").read_text())
    assert set(environment) <= {"PATH", "LC_ALL"}
    assert folder == "/"


def test_a_recipient_that_reads_as_an_option_is_refused_alone(program: NewProgram, tmp_path: Path) -> None:
    found = submitted(program(RECORD), replace(ENVELOPE, recipients=("-oQ/tmp@example.com", ANN)))
    assert given(tmp_path)[0] == ["-i", "-f", "bob@example.org", "--", ANN]
    assert means(found["-oQ/tmp@example.com"]) == (Outcome.REFUSED, False)
    assert means(found[ANN]) == (Outcome.ACCEPTED, False)


@pytest.mark.parametrize(
    "envelope",
    [Envelope("-oQ/tmp@example.org", (ANN, BEN)), Envelope("bob@example.org", ("-x@example.com", "-bs@example.com"))],
    ids=["sender", "all recipients"],
)
def test_nobody_is_left_when_all_read_as_options(envelope: Envelope, program: NewProgram, tmp_path: Path) -> None:
    found = submit(program(RECORD), Submission(envelope, CONTENT), lambda: pytest.fail("no window is needed"), 10)
    assert {means(each) for each in found.values()} == {(Outcome.REFUSED, False)}
    assert set(found) == set(envelope.recipients)
    assert not (tmp_path / "given.json").exists()


PAUSED, DEFERRED, REFUSED = (Outcome.PAUSE_RELAY, True), (Outcome.DEFERRED, False), (Outcome.REFUSED, False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, (Outcome.ACCEPTED, False)),
        (1, DEFERRED),
        (os.EX_USAGE, PAUSED),
        (os.EX_DATAERR, REFUSED),
        (os.EX_NOINPUT, PAUSED),
        (os.EX_NOUSER, REFUSED),
        (os.EX_NOHOST, REFUSED),
        (os.EX_UNAVAILABLE, DEFERRED),
        (os.EX_SOFTWARE, PAUSED),
        (os.EX_OSERR, DEFERRED),
        (os.EX_OSFILE, PAUSED),
        (os.EX_CANTCREAT, PAUSED),
        (os.EX_IOERR, DEFERRED),
        (os.EX_TEMPFAIL, DEFERRED),
        (os.EX_PROTOCOL, DEFERRED),
        (os.EX_NOPERM, PAUSED),
        (os.EX_CONFIG, PAUSED),
        (250, DEFERRED),
    ],
)
def test_the_exit_status_decides(status: int, expected: tuple[Outcome, bool], program: NewProgram) -> None:
    found = answer(program(f"import sys; sys.stdin.read(); sys.exit({status})"))
    assert means(found) == expected
    assert str(found) == f"{status} the program said nothing"


def test_the_reply_is_the_first_line_that_the_program_says(program: NewProgram) -> None:
    lines = r"""
import sys
sys.stdin.read()
print("not this")
print("\n  mail system is \x1b[2Jdown" + "n" * 5000 + "\nnor that", file=sys.stderr)
sys.exit(75)
"""
    said = str(answer(program(lines)))
    assert said.startswith(r"75 mail system is \x1b[2Jdown")
    assert said.isprintable()
    assert len(said) < 600


@pytest.mark.parametrize("what", ["missing", "not executable", "a folder", "no program"])
def test_a_program_that_cannot_be_run_pauses_the_relay(what: str, program: NewProgram, tmp_path: Path) -> None:
    relay = program("")
    path = Path(relay.program[0])
    if what == "not executable":
        path.chmod(0o644)
    elif what == "no program":
        path.write_bytes(b"\0\1\2")
    else:
        path.unlink()
        if what == "a folder":
            path.mkdir()
    found = answer(relay)
    assert (found.phase, found.met, means(found)) == (Phase.PROGRAM, Silence.NO_CONNECTION, PAUSED)


HANG = "import signal; signal.pause()"
DIE = "import os; os.kill(os.getpid(), 9)"
READ = "import sys; sys.stdin.buffer.read()\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (READ + HANG, "timeout at content: the program was over its time"),
        (READ + DIE, "connection-lost at content: signal 9 ended the program"),
        (HANG, "timeout at program: the program was over its time"),
        (DIE, "connection-lost at program: signal 9 ended the program"),
        ("import os; os.read(0, 5)\n" + DIE, "connection-lost at program: signal 9 ended the program"),
    ],
)
def test_what_ends_without_a_status_is_uncertain_once_it_has_the_whole_letter(
    lines: str, expected: str, program: NewProgram
) -> None:
    is_whole = " at content" in expected
    for timeout_s in GROWING_S:  # it has to begin, and to read, before its time is over
        found = answer(program(lines), timeout_s)
        if str(found) == expected:
            break
    assert str(found) == expected
    assert means(found) == ((Outcome.UNCERTAIN if is_whole else Outcome.DEFERRED), False)


def test_a_program_that_is_over_its_time_is_killed_with_its_children(program: NewProgram, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    read_end = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    lines = "import os, signal; held = os.open({folder!r} + '/alive', os.O_WRONLY); os.fork(); signal.pause()"
    # Its end is readable when somebody held the other end, and nobody does any more.
    assert any(
        answer(program(lines), timeout_s).met is Silence.TIMEOUT and select.select([read_end], [], [], 2)[0]
        for timeout_s in GROWING_S
    )
    assert os.read(read_end, 1) == b""
    os.close(read_end)


def test_a_program_that_takes_a_letter_which_it_did_not_read_is_not_believed(program: NewProgram) -> None:
    assert means(answer(program(""))) == PAUSED


def test_a_letter_is_held_back_when_the_window_is_closed(program: NewProgram, tmp_path: Path) -> None:
    def fail() -> bool:
        raise LedgerUnavailable("away")

    letter = Submission(ENVELOPE, CONTENT)
    assert submit(program(RECORD), letter, lambda: False, 10) == {}
    with pytest.raises(LedgerUnavailable):
        submit(program(RECORD), letter, fail, 10)
    assert not (tmp_path / "given.json").exists()


def test_a_fault_of_ours_is_nobodys_refusal(program: NewProgram, tmp_path: Path) -> None:
    [found] = submitted(program(RECORD), Envelope("bob@example.org", ("a\nb@example.com",))).values()
    assert means(found) == DEFERRED
    assert not (tmp_path / "given.json").exists()


def test_a_letter_goes_out_by_a_program_and_its_answer_is_in_the_ledger(
    program: NewProgram, tmp_path: Path, redis_url: str
) -> None:
    path = program(RECORD).program[0]
    with desk(redis_url, f"sendmail://{quote(path)}") as here:
        sent = here.accept([ANN, BEN], "hello\n", notify="never")
        assert here.deliver(sent).state is LetterState.SENT
        arguments, letter = given(tmp_path)
        assert arguments == ["-i", "-f", "bob@example.org", "-N", "never", "--", ANN, BEN]
        assert letter.endswith(b"\n\nhello\n")
        program("import sys; sys.stdin.read(); print('no room', file=sys.stderr); sys.exit(75)")
        status = here.deliver(here.accept(ANN, "hello\n"))
        assert (status.state, status.recipients[ANN].reply) == (LetterState.DEFERRED, "75 no room")
        Path(path).unlink()
        status = here.deliver(here.accept(ANN, "hello\n"))
        assert (status.state, status.attempts) == (LetterState.DEFERRED, 0)
