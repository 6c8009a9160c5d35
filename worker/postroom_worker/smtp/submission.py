"""What is submitted in a transaction, and the commands that say so: MAIL and a RCPT for each (RFC 5321 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from postroom.envelope import Envelope
from postroom_worker.outcome import Answer, Phase, Silence
from postroom_worker.smtp import content as contents
from postroom_worker.smtp.session import command

_NO_XTEXT = re.compile(r"[^!-*,-<>-~]")
_RET = {"full": "FULL", "headers": "HDRS"}

Answers = dict[str, Answer]
"""By forward-path, the answer that decides about it."""


class Submission(msgspec.Struct, frozen=True, eq=False):
    """A letter on its way to a relay. Two are never the same, whatever they hold."""

    envelope: Envelope
    """The reverse-path, the recipients still to be served, and what reports are asked for."""
    content: Sequence[bytes]
    """The message with CRLF line ends, in chunks."""


class Wording(msgspec.Struct, frozen=True):
    """A submission in the words that a relay understands."""

    paths: Sequence[str]
    """The recipients that are named to it."""
    commands: Sequence[bytes]
    """MAIL, then RCPT for each of the paths."""
    options: frozenset[str]
    """The extensions whose parameters the letter could do without, and that were used: SIZE and DSN."""
    lacking: Answers
    """Who is decided already, for want of an extension."""
    has_chunks: bool
    """True when the content goes with BDAT."""


def worded(submission: Submission, features: Mapping[str, str]) -> Wording:
    """Return how a submission is said to a relay that offers these extensions.

    Reports of delivery (DSN, RFC 3461) are asked for where they are offered, and silently not where they are not: the
    relay then sends them as it always does (§5.2.1); that is no reason to keep a letter back.

    Raises:
        ValueError: a path cannot stand in a command.
    """
    envelope, size = submission.envelope, sum(map(len, submission.content))
    is_ascii = all(chunk.isascii() for chunk in submission.content)
    # Everybody needs SMTPUTF8 when the sender, or an address in the header, is outside ASCII (RFC 6531 §3.2).
    is_utf8 = not envelope.reverse_path.isascii() or not (is_ascii or contents.header(submission.content).isascii())
    for_all = _lacking(features, size, is_ascii=is_ascii, is_utf8=is_utf8)
    if for_all:
        return Wording((), (), frozenset(), dict.fromkeys(envelope.recipients, for_all), has_chunks=False)
    paths, lacking = envelope.recipients, Answers()
    if "smtputf8" not in features and not "".join(paths).isascii():
        answer = Answer(Phase.RCPT, Silence.NOT_OFFERED, "SMTPUTF8, which this address needs")
        lacking = {path: answer for path in paths if not path.isascii()}
        paths = tuple(path for path in paths if path.isascii())
    mail = f"MAIL FROM:<{envelope.reverse_path}>"
    options = set()
    if "size" in features:
        mail += f" SIZE={size}"
        options.add("size")
    if not is_ascii:
        mail += " BODY=8BITMIME"
    if is_utf8 or not "".join(paths).isascii():
        mail += " SMTPUTF8"
    if "dsn" in features and (envelope.notify or envelope.ret or envelope.envid):
        mail += _mail_reports(envelope)
        options.add("dsn")
    has_reports = "dsn" in options
    rcpts = [command(f"RCPT TO:<{path}>{_reports(envelope, path) if has_reports else ''}") for path in paths]
    has_chunks = size > 0 and "chunking" in features and "pipelining" in features
    return Wording(paths, [command(mail), *rcpts], frozenset(options), lacking, has_chunks)


def _lacking(features: Mapping[str, str], size: int, *, is_ascii: bool, is_utf8: bool) -> Answer | None:
    """What everybody's copy needs and the relay does not offer."""
    what = ""
    if is_utf8 and "smtputf8" not in features:
        what = "SMTPUTF8, which an address in the letter needs"
    elif not is_ascii and "8bitmime" not in features:
        what = "8BITMIME, which the content needs"
    else:
        limit = features.get("size", "")
        if limit.isdecimal() and limit.isascii() and 0 < int(limit) < size:
            what = f"SIZE: the letter has {size} octets, it takes {limit}"
    return Answer(Phase.MAIL, Silence.NOT_OFFERED, what) if what else None


def _mail_reports(envelope: Envelope) -> str:
    ret = f" RET={_RET[envelope.ret]}" if envelope.ret else ""
    return ret + (f" ENVID={xtext(envelope.envid)}" if envelope.envid else "")


def _reports(envelope: Envelope, path: str) -> str:
    """The parameters of one RCPT. ORCPT of an address outside ASCII would need another address type (RFC 6533)."""
    notify = f" NOTIFY={','.join(envelope.notify).upper()}" if envelope.notify else ""
    return notify + (f" ORCPT=rfc822;{xtext(path)}" if path.isascii() else "")


def xtext(text: str) -> str:
    """Return ASCII text as a parameter's value (RFC 3461 §4): what may not stand in one becomes its number in hex."""
    return _NO_XTEXT.sub(lambda match: f"+{ord(match[0]):02X}", text)
