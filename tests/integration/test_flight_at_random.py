"""Relays that do anything at any place: no answer is another letter's, and both sides' accounts agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import assume, given, note
from hypothesis import strategies as st

from postroom.envelope import Envelope
from postroom.reply import Reply
from postroom.settings import Settings
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Reaction,
    Script,
    ScriptedRelay,
    both,
    close,
    octets,
    reset,
    scripted_relay,
)
from postroom_worker.dev.scripted_relay import Session as Seen
from postroom_worker.outcome import Answer, Outcome, Phase, Scope, Silence, outcome
from postroom_worker.relay import Relay
from postroom_worker.smtp.flight import transmit
from postroom_worker.smtp.session import Manner, Session
from postroom_worker.smtp.submission import Answers, Submission

MANNER = Manner.of(
    Settings.from_environment(
        {
            "POSTROOM_EHLO_NAME": "worker.example.org",
            "POSTROOM_COMMAND_TIMEOUT_S": "5",
            "POSTROOM_CONTENT_TIMEOUT_S": "5",
        }
    )
)


def path_in(command: str) -> str:
    """The path that a command names."""
    return command[command.find("<") : command.rfind(">") + 1]


def named(text: str, padding: str = "") -> Reaction:
    """Say this, and what it is about: the path of a MAIL or RCPT, or of the MAIL that they belong to."""

    def react(session: Seen) -> None:
        last = session.commands[-1]
        about = last if last.startswith("MAIL") or (session._mail and last.startswith("RCPT")) else session._mail
        reply = f"{text} {path_in(about)} {padding}" if about or last == "RSET" else "503 5.5.1 MAIL first"
        session.write(reply.encode() + b"\r\n")

    return react


def without_size(session: Seen) -> None:
    """Take the command only without its parameter."""
    named("555 5.5.4 what?" if "SIZE=" in session.commands[-1] else "250 2.1.0 ok")(session)


def take(session: Seen) -> None:
    """Take the letter, and say nothing of it yet."""
    session.take()


GONE: dict[str, Reaction] = {"421": both(named("421 4.3.2 bye"), close), "close": close, "reset": reset}
NO: dict[str, Reaction] = {"451": named("451 4.7.1 later"), "550": named("550 5.1.1 no")}
LONG = {"long": named("250 2.1.5 ok", "x" * 700)}
# A stray reply goes out together with the one that it follows: what comes later than the next letter cannot be told
# from its answer.
STRAY = {"stray": both(take, octets(b"250 2.0.0 ok\r\n550 5.9.9 <stray>\r\n"))}
TAKEN = {"taken, close": both(take, close), "taken, reset": both(take, reset)}
POLITE = {step: named("354 go" if step == "data" else "250 2.0.0 ok") for step in ("mail", "rcpt", "data", "bdat")}
POLITE |= {step: named("250 2.0.0 ok") for step in ("content", "rset")}
ODD: dict[str, dict[str, Reaction]] = {
    "mail": NO | GONE | LONG | {"555": without_size},
    "rcpt": NO | GONE | LONG | {"too many": named("452 4.5.3 many"), "sender": named("550 5.7.60 not you")},
    "data": NO | GONE | {"354 in lines": named("354-go\r\n354 on"), "250": named("250 2.0.0 ok")},
    "bdat": NO | GONE | {"502": named("502 5.5.1 what?")},
    "content": NO | GONE | TAKEN | STRAY,
    "rset": GONE,
}
Odd = dict[str, dict[int, str]]
"""By step: at which times, counted from none, the relay does which odd thing."""


def script_of(odd: Odd) -> Script:
    """What a relay does, step by step: polite but for this."""
    return {
        step: [ODD[step][odd[step][time]] if time in odd[step] else polite for time in range(14)]
        for step, polite in POLITE.items()
    }


ODDITIES = st.fixed_dictionaries(
    {step: st.dictionaries(st.integers(0, 12), st.sampled_from(sorted(ODD[step])), max_size=2) for step in POLITE}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, and over what line."""

    sizes: Sequence[int]
    """Of the contents, in octets about."""
    recipients: Sequence[int]
    """How many, by letter."""
    withheld: frozenset[int]
    offers: Sequence[str]
    splits: bool
    holds: bool
    knows_bdat: bool
    """False for a relay that takes chunks for commands, whatever it offers."""
    first: int
    """How many letters go with the first call."""

    @property
    def letters(self) -> list[Submission]:
        """The letters; no two have a recipient in common."""
        return [letter(*each) for each in enumerate(zip(self.sizes, self.recipients, strict=True))]


def letter(number: int, shape: tuple[int, int]) -> Submission:
    size, recipients = shape
    to = tuple(f"to-{number}-{each}@example.com" for each in range(recipients))
    content = b"Subject: %d\r\n\r\n" % number + b".line\r\n" * (size // 7)
    return Submission(Envelope(f"from-{number}@example.org", to), [content])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Anything between one letter and twenty."""
    count = draw(st.integers(1, 20))
    ways: list[list[str]] = [
        [*OFFERS, "CHUNKING"],
        list(OFFERS),
        [each for each in OFFERS if each != "PIPELINING"],
        ["CHUNKING"],
        ["PIPELINING", "CHUNKING"],
    ]
    splits = draw(st.booleans())
    return Plan(
        sizes=draw(st.lists(st.sampled_from([10, 10, 10, 1000, 20_000, 60_000]), min_size=count, max_size=count)),
        recipients=draw(st.lists(st.integers(1, 3), min_size=count, max_size=count)),
        withheld=draw(st.frozensets(st.integers(0, 19), max_size=1)),
        offers=draw(st.sampled_from(ways)),
        splits=splits,
        holds=not splits and draw(st.booleans()),
        knows_bdat=draw(st.integers(0, 9)) > 0,
        first=draw(st.integers(0, count)),
    )


@given(plans(), ODDITIES)
def test_whatever_a_relay_does_each_letter_has_its_own_answers(plan: Plan, odd: Odd) -> None:
    assume(not (plan.splits and "stray" in odd["content"].values()))
    letters = plan.letters
    script = script_of(odd) if plan.knows_bdat else {**script_of(odd), "unread": named("502 5.5.1 what?")}
    with scripted_relay(script, offers=plan.offers, splits=plan.splits, holds=plan.holds) as relay:
        found, is_usable, allowed = submit(relay, letters, plan)
    assert [each for each, _ in found] == letters[: len(found)], "in order"
    assert len(found) == len(letters) or not is_usable
    for number, (submission, answers) in enumerate(found):
        note(f"{number}: {answers}")
        check(number, submission, answers, relay, is_allowed=number in allowed)
    for taken in relay.taken:
        assert not taken.recipients or taken.message == letters[number_of(taken.mail)].content[0], "whole, and its own"
    sent = {path for each in relay.taken for path in each.recipients}
    assert sent <= {path for number in allowed for path in letters[number].envelope.recipients}


def submit(
    relay: ScriptedRelay, letters: Sequence[Submission], plan: Plan
) -> tuple[list[tuple[Submission, Answers]], bool, set[int]]:
    """Submit the letters in one session, in two calls."""
    allowed: set[int] = set()

    def enter_window(batch: Sequence[Submission]) -> list[bool]:
        numbers = [letters.index(each) for each in batch]
        allowed.update(number for number in numbers if number not in plan.withheld)
        return [number not in plan.withheld for number in numbers]

    found: list[tuple[Submission, Answers]] = []
    with Session(Relay.from_url(relay.url), MANNER) as session:
        for part in (letters[: plan.first], letters[plan.first :]):
            if session.is_usable:
                found += transmit(session, part, enter_window, 100)
        return found, session.is_usable, allowed


def check(number: int, submission: Submission, answers: Answers, relay: ScriptedRelay, *, is_allowed: bool) -> None:
    """Compare the answers about one letter with what the relay says that it took."""
    assert not answers or answers.keys() == set(submission.envelope.recipients)
    for path in submission.envelope.recipients:
        times = relay.accepted[path]
        if path not in answers:
            assert times == 0, "it was withheld"
            continue
        answer = answers[path]
        assert answer.met is not Silence.TIMEOUT, "nobody waits for ever"
        about_itself(number, path, answer)
        match outcome(answer).outcome:
            case Outcome.ACCEPTED:
                assert times == 1
                assert is_allowed
            case Outcome.UNCERTAIN:
                assert times <= 1
                assert is_allowed
            case _:
                assert times == 0


def about_itself(number: int, path: str, answer: Answer) -> None:
    """A reply that names somebody names whom it is for; how a session ended is said of every letter in it."""
    if isinstance(answer.met, Reply) and "<" in answer.met.text and answer.phase is not Phase.IDLE:
        is_alone = answer.phase is Phase.RCPT and outcome(answer).scope is Scope.RECIPIENT
        whom = f"<{path}>" if is_alone else f"<to-{number}-" if answer.phase is Phase.RCPT else f"<from-{number}@"
        assert whom in answer.met.text


def number_of(mail: str) -> int:
    """The number of the letter that a MAIL belongs to."""
    return int(path_in(mail).removeprefix("<from-").partition("@")[0])
