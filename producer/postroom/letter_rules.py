"""The rules that no keyword of a letter shows alone: limits, and keywords that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postroom.address import mailboxes
from postroom.errors import Problem, Problems
from postroom.mime import content_type
from postroom.mime.part_rules import MOST_PARTS
from postroom.settings import Settings

if TYPE_CHECKING:
    from postroom.letter import Letter
    from postroom.mime.part import Part

_ADDED_PARTS = 4
"""Most that composing adds: mixed, alternative, related, and the copy of a calendar."""
_OCTETS_A_CHARACTER = 16
"""Most that a character takes in a header field, in encoded words, with its share of name and line ends."""


def check(letter: Letter, limits: Settings) -> None:
    """Check what no keyword shows alone.

    Raises:
        InvalidLetter: a limit is exceeded, or keywords contradict each other.
    """
    problems = Problems()
    recipients = letter.recipients
    if not recipients:
        problems.append(Problem("to", "there is no recipient", "name one in to, cc or bcc"))
    if len(recipients) > limits.recipients_max:
        problem = f"there are {len(recipients)} recipients"
        problems.append(Problem("to", problem, f"send letters of at most {limits.recipients_max} recipients each"))
    tops = letter.parts
    parts = [each for top in tops for each in (top.walk() if top.subparts else (top,))]
    problems.extend(_contradictions(letter, tops))
    problems.extend(_excesses(letter, parts, limits))
    if not problems and letter.ready is None and len(parts) > len(tops):
        # What is built by hand is wrapped: what that makes too deep, the caller learns now.
        with problems.collecting():
            letter.shape()
    problems.raise_if_any()


def _excesses(letter: Letter, parts: list[Part], limits: Settings) -> Iterator[Problem]:
    # The parts that hold others together, and the copy of a calendar, count too.
    count = len(parts) + (_ADDED_PARTS if len(parts) > 1 else 0)
    most = min(limits.parts_max, MOST_PARTS)
    if count > most:
        yield Problem("attachments", f"the letter has {count} parts", f"send letters of at most {most} each")
    size = sum([part.size for part in parts])
    if size > limits.letter_max:
        remedy = f"send less than {limits.letter_max} octets (POSTROOM_LETTER_MAX), or a link"
        yield Problem("attachments", f"the letter is too large: {size} octets", remedy)
    if _header_characters(letter) * _OCTETS_A_CHARACTER > limits.header_max:
        octets = sum(map(len, letter.header_fields()))
        if octets > limits.header_max:
            problem = f"the header fields have {octets} octets together"
            yield Problem("headers", problem, f"at most {limits.header_max} (POSTROOM_HEADER_MAX)")


def _header_characters(letter: Letter) -> int:
    written = mailboxes((*letter.to, *letter.cc, *letter.reply_to))
    count = sum([len(each.name) + len(each.address) for each in written]) + len(letter.subject or "")
    return count + sum([len(name) + len(value) for name, value in letter.headers])


def _contradictions(letter: Letter, tops: tuple[Part, ...]) -> Iterator[Problem]:
    if not tops:
        yield Problem("message", "there is neither text nor html", "give message= or html=")
    if letter.inline and letter.html is None:
        yield Problem("inline", "there is no html that could show it", "give html=, or attachments=")
    richer = letter.html or letter.calendar
    if letter.message is not None and richer is not None and letter.message.content_type != content_type.TEXT:
        problem = f"a {letter.message.content_type} part cannot be the plain alternative of another"
        yield Problem("message", problem, "give a text, or build the whole body by hand")
    if letter.ready is not None and len(tops) > 1:
        yield Problem("ready", "there is further content beside the ready message", "give one of them")
    if letter.ready is not None:
        for name in ("headers", "reply_to"):
            if getattr(letter, name):
                yield Problem(name, "a ready message is sent as it is", "write it into the message")
