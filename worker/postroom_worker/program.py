"""A local program as a relay, called as sendmail(1) is: its exit status is the answer (sysexits.h)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, Final

from postroom.envelope import Envelope
from postroom.reply import Reply, printable
from postroom_worker.outcome import Answer, Phase, Silence
from postroom_worker.relay import Relay
from postroom_worker.smtp.submission import Answers, Submission

log = logging.getLogger("postroom")

_SAID_MAX = 4096
"""Octets of its standard error that are read."""
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
"""All that the program sees of ours, which may hold passwords."""
_RET: Final = {"full": "full", "headers": "hdrs"}


def submit(relay: Relay, submission: Submission, enter_window: Callable[[], bool], timeout_s: float) -> Answers:
    """Submit one letter, by one run of the program.

    Args:
        relay: which has a program.
        submission: the letter; the program gets it with the line ends of this system.
        enter_window: called before the program is started, if it is; False stops it there.
        timeout_s: how long it may take; then it is killed, with its children.

    Returns:
        for each forward-path the answer that decides about it; none when `enter_window` said no.

    Raises:
        Exception: what `enter_window` raised; the program was not started. Nothing else is raised: what goes wrong,
            with the program or with us, is an answer.
    """
    envelope = submission.envelope
    answers = _options_in_disguise(envelope)
    paths = [path for path in envelope.recipients if path not in answers]
    if not paths:
        return answers
    with ExitStack() as files:
        try:
            command = _command(relay, envelope, paths)
            # A file, not a pipe: if we died half way, a pipe would end as if the letter were whole.
            letter, said = files.enter_context(TemporaryFile()), files.enter_context(TemporaryFile())
            letter.writelines(_local(submission.content))
            letter.seek(0)
        except (OSError, ValueError) as error:
            log.exception("a letter could not be given to %s by a fault of ours", relay)
            fault = Answer(Phase.BODY, Silence.MALFORMED, f"a fault of ours: {type(error).__name__}")
            return answers | dict.fromkeys(paths, fault)
        if not enter_window():
            return {}
        return answers | dict.fromkeys(paths, _run(command, letter, said, timeout_s))


def _options_in_disguise(envelope: Envelope) -> Answers:
    """Those who would be read as an option by programs that know no ``--``, or let an option follow ``-f``."""
    problem = "an address that begins with a hyphen is given to no program"
    if envelope.reverse_path.startswith("-"):
        return dict.fromkeys(envelope.recipients, Answer(Phase.MAIL, Silence.NOT_OFFERED, problem))
    refused = [path for path in envelope.recipients if path.startswith("-")]
    return dict.fromkeys(refused, Answer(Phase.RCPT, Silence.NOT_OFFERED, problem))


def _command(relay: Relay, envelope: Envelope, paths: Sequence[str]) -> list[bytes]:
    command = [*relay.program, "-f", envelope.reverse_path or "<>"]
    if envelope.notify:
        command += ["-N", ",".join(envelope.notify)]
    if envelope.ret:
        command += ["-R", _RET[envelope.ret]]
    if envelope.envid:
        command += ["-V", envelope.envid]
    command += ["--", *paths]
    if not all(argument.isprintable() for argument in command):
        raise ValueError("an argument of a program must not hold controls")
    return [argument.encode() for argument in command]


def _run(command: Sequence[bytes], letter: IO[bytes], said: IO[bytes], timeout_s: float) -> Answer:
    try:
        process = subprocess.Popen(  # noqa: S603  (no shell; whoever describes the relay chose the program)
            command,
            stdin=letter,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(Phase.PROGRAM, Silence.NO_CONNECTION, error.strerror or type(error).__name__)
    status = _status(process, timeout_s)
    # The place in the file is the program's, too.
    is_all_taken = os.lseek(letter.fileno(), 0, os.SEEK_CUR) >= os.fstat(letter.fileno()).st_size
    return _answer(status, _said(said), is_all_taken=is_all_taken)


def _status(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """The exit status, below 0 for the signal that ended it; None when it was killed for being over its time."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _answer(status: int | None, said: str, *, is_all_taken: bool) -> Answer:
    if status is None or status < 0:
        silence = Silence.TIMEOUT if status is None else Silence.CONNECTION_LOST
        how = "the program was over its time" if status is None else f"signal {-status} ended the program"
        return Answer(Phase.CONTENT if is_all_taken else Phase.PROGRAM, silence, how)
    if status == os.EX_OK and not is_all_taken:
        return Answer(Phase.PROGRAM, Silence.MALFORMED, "the program did not read the letter to its end")
    return Answer(Phase.PROGRAM, Reply(status, said))


def _said(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read(_SAID_MAX).decode("utf-8", "replace").splitlines()
    return printable(next((line.strip() for line in lines if line.strip()), "the program said nothing"))


def _local(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks with this system's line ends; a CRLF may lie across two."""
    before = b""
    for chunk in chunks:
        joined = before + chunk
        before = b"\r" if joined.endswith(b"\r") else b""
        yield joined.removesuffix(before).replace(b"\r\n", os.linesep.encode())
    yield before
