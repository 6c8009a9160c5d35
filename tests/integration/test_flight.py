"""Several letters in one session: what is in flight at once, and that each has its own answers whatever happens."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event

import pytest
import trustme

from house import GROWING_S
from postroom.envelope import Envelope
from postroom.reply import Reply
from postroom.settings import Settings
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Reaction,
    ScriptedRelay,
    both,
    close,
    octets,
    only_to,
    say,
    scripted_relay,
)
from postroom_worker.dev.scripted_relay import Session as Seen
from postroom_worker.dev.server import wait_until
from postroom_worker.outcome import Outcome, Phase, outcome
from postroom_worker.relay import Relay
from postroom_worker.smtp.flight import transmit
from postroom_worker.smtp.session import Manner, Session
from postroom_worker.smtp.submission import Answers, Submission
from postroom_worker.smtp.transaction import Transaction

PIPELINED = OFFERS
CHUNKED = [*OFFERS, "CHUNKING"]
PLAIN = [each for each in OFFERS if each != "PIPELINING"]
WAYS = pytest.mark.parametrize("offers", [CHUNKED, PIPELINED, PLAIN], ids=["chunked", "pipelined", "one by one"])
TOGETHER = pytest.mark.parametrize("offers", [CHUNKED, PIPELINED], ids=["chunked", "pipelined"])
MANNER = Manner.of(
    Settings.from_environment(
        {
            "POSTROOM_EHLO_NAME": "worker.example.org",
            "POSTROOM_COMMAND_TIMEOUT_S": "5",
            "POSTROOM_CONTENT_TIMEOUT_S": "5",
        }
    )
)


def letter(number: int, *to: str, size: int = 0) -> Submission:
    """A letter with a sender, recipients and a content of its own."""
    content = b"Subject: %d\r\n\r\nhi\r\n.\r\n" % number + b"x" * 70 * (size > 0) + b"\r\n" * (size // 2)
    return Submission(Envelope(f"from-{number}@example.org", to or (f"to-{number}@example.com",)), [content])


@dataclass(slots=True)
class Client:
    """Our side of one session, with an account of its own."""

    session: Session
    withheld: Sequence[int] = ()
    """The numbers of the letters whose end may not be sent."""
    asked: list[list[int]] = field(default_factory=list)
    """Whose window was entered, by call."""
    taken: int = 0
    """How many submissions were taken."""

    def transmit(self, letters: Sequence[Submission], letters_max: int = 1000) -> list[tuple[Submission, Answers]]:
        """Submit letters, and return all that comes of them."""

        def enter_window(batch: Sequence[Submission]) -> list[bool]:
            numbers = [letters.index(each) for each in batch]
            self.asked.append(numbers)
            return [number not in self.withheld for number in numbers]

        return list(transmit(self.session, self._counted(letters), enter_window, letters_max))

    def outcomes(self, letters: Sequence[Submission], letters_max: int = 1000) -> list[Outcome | None]:
        """Submit letters of one recipient each, and return what becomes of them; None for one that was withheld."""
        found = self.transmit(letters, letters_max)
        assert [submission for submission, _ in found] == list(letters[: len(found)]), "in order"
        return [one(answers) if answers else None for _, answers in found]

    def _counted(self, letters: Iterable[Submission]) -> Iterator[Submission]:
        for each in letters:
            self.taken += 1
            yield each


def one(answers: Answers) -> Outcome:
    """The outcome for the only recipient."""
    [answer] = answers.values()
    return outcome(answer).outcome


@contextmanager
def client(relay: ScriptedRelay, withheld: Sequence[int] = ()) -> Iterator[Client]:
    """Begin a session."""
    with Session(Relay.from_url(relay.url), MANNER) as session:
        yield Client(session, withheld)


def for_letter(number: int, reaction: Reaction, polite: str = "250 2.0.0 ok") -> Reaction:
    """React so when the letter of this number is in hand."""

    def react(session: Seen) -> None:
        mail = next(each for each in reversed(session.commands) if each.startswith("MAIL"))
        (reaction if f"<from-{number}@" in mail else say(polite))(session)

    return react


ACCEPTED, REFUSED, DEFERRED, UNCERTAIN = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.DEFERRED, Outcome.UNCERTAIN
RECONNECT, PAUSE = Outcome.RECONNECT, Outcome.PAUSE_RELAY

# --- several letters --------------------------------------------------------------------------------------------------


@WAYS
def test_letters_follow_each_other_in_one_session(offers: list[str]) -> None:
    letters = [letter(number) for number in range(40)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED] * 40
        assert us.session.letters == 40
        assert us.session.is_usable
    assert [taken.message for taken in relay.taken] == [each.content[0] for each in letters]
    assert [taken.recipients for taken in relay.taken] == [list(each.envelope.recipients) for each in letters]


def test_what_goes_over_the_wire_with_chunking() -> None:
    letters = [letter(0), letter(1), letter(2)]
    with scripted_relay(offers=CHUNKED) as relay, client(relay) as us:
        us.outcomes(letters)
        size = len(letters[0].content[0])
        transaction = [
            [f"MAIL FROM:<from-{n}@example.org> SIZE={size}", f"RCPT TO:<to-{n}@example.com>"] for n in range(3)
        ]
        last = f"BDAT {size} LAST"
        first = [*transaction[0], "BDAT 1", f"BDAT {size - 1} LAST"]
        assert relay.commands[1:] == [*first, *transaction[1], last, "RSET", *transaction[2], last, "RSET"]
    assert [taken.content for taken in relay.taken] == [each.content[0] for each in letters], "no dot is doubled"


@TOGETHER
def test_the_window_is_entered_for_a_group_at_once(offers: list[str]) -> None:
    letters = [letter(number) for number in range(40)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        us.outcomes(letters)
        assert [number for batch in us.asked for number in batch] == list(range(40))
        assert max(map(len, us.asked)) == 16
        assert len(us.asked) <= 4


@TOGETHER
def test_no_more_content_is_in_flight_than_the_bound(offers: list[str]) -> None:
    letters = [letter(number, size=30_000) for number in range(24)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED] * 24
        assert max(map(len, us.asked)) == 9


@WAYS
def test_a_large_letter_enters_its_window_alone(offers: list[str]) -> None:
    letters = [letter(0), letter(1), letter(2), letter(3, size=3_000_000), letter(4), letter(5)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED] * 6
        assert [3] in us.asked
    assert [taken.message for taken in relay.taken] == [each.content[0] for each in letters]


@WAYS
def test_no_more_letters_are_taken_than_the_session_may_serve(offers: list[str]) -> None:
    letters = [letter(number) for number in range(30)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        assert us.outcomes(letters, 20) == [ACCEPTED] * 20
        assert us.taken == us.session.letters == len(relay.taken) == 20
        assert us.session.is_usable


@WAYS
def test_a_letter_that_may_not_go_is_not_sent_and_the_others_are(offers: list[str]) -> None:
    letters = [letter(number) for number in range(6)]
    with scripted_relay(offers=offers) as relay, client(relay, withheld=[3]) as us:
        expected = [ACCEPTED, ACCEPTED, ACCEPTED, None, ACCEPTED, ACCEPTED]
        found = us.outcomes(letters)
        assert found == expected[: len(found)]
        assert len(found) == (4 if offers is PLAIN else 6), "after DATA only hanging up keeps the letter back"
        assert us.session.is_usable == (offers is not PLAIN)
        assert relay.accepted["to-3@example.com"] == 0


def test_who_slept_since_the_windows_were_entered_asks_again_before_each_end() -> None:
    asked: list[int] = []

    def enter_window(batch: Sequence[Submission]) -> list[bool]:
        asked.append(len(batch))
        return [len(asked) < 3] * len(batch)

    with scripted_relay(offers=PIPELINED) as relay, client(relay) as us:
        letters = [letter(number) for number in range(4)]
        found = [bool(answers) for _, answers in transmit(us.session, letters, enter_window, 10, window_s=-1)]
        assert asked == [4, 3, 2], "the third learns that its claim was lost, and so is the one behind it"
        assert found == [True, True, False, False]
        assert len(relay.taken) == 2


@WAYS
def test_the_first_letter_may_be_withheld(offers: list[str]) -> None:
    with scripted_relay(offers=offers) as relay, client(relay, withheld=[0]) as us:
        found = us.outcomes([letter(0), letter(1)])
        assert found[0] is None
        assert found[1:] in ([], [RECONNECT])
        assert relay.taken == []


@WAYS
def test_what_the_caller_raises_comes_through_and_closes_the_session(offers: list[str]) -> None:
    def lost(_: Sequence[Submission]) -> Sequence[bool]:
        raise LookupError

    with scripted_relay(offers=offers) as relay, client(relay) as us:
        with pytest.raises(LookupError):
            list(transmit(us.session, [letter(0)], lost, 10))
        assert not us.session.is_usable
        assert relay.taken == []


@WAYS
def test_who_stops_listening_closes_the_session(offers: list[str]) -> None:
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        answers = transmit(us.session, [letter(0), letter(1), letter(2)], lambda batch: [True] * len(batch), 10)
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        assert not us.session.is_usable


@WAYS
def test_a_fault_of_ours_with_one_letter_leaves_the_others_alone(offers: list[str]) -> None:
    letters = [letter(0), letter(1), letter(2, "a\r\nb@example.com"), letter(3)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED, ACCEPTED, DEFERRED, ACCEPTED]
        assert len(relay.taken) == 3


@WAYS
def test_a_fault_of_ours_in_flight_refuses_nobody(offers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    letters = [letter(number) for number in range(6)]
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        monkeypatch.setattr(Transaction, "hear_end", only_at_first(Transaction.hear_end, 2))
        found = us.outcomes(letters)
        assert found[:3] == [ACCEPTED, ACCEPTED, UNCERTAIN]
        assert set(found[3:]) <= {DEFERRED, UNCERTAIN}
        assert not us.session.is_usable


def only_at_first(function: Callable[..., None], times: int) -> Callable[..., None]:
    """The function, until it was called so often."""
    calls = iter(range(times))

    def called(*arguments: object) -> None:
        if next(calls, None) is None:
            raise ZeroDivisionError
        function(*arguments)

    return called


# --- each letter has its own answers ----------------------------------------------------------------------------------


STEPS = [
    *[(step, offers) for step in ("mail", "rcpt", "content") for offers in (CHUNKED, PIPELINED, PLAIN)],
    *[("data", offers) for offers in (PIPELINED, PLAIN)],
]


@pytest.mark.parametrize(("step", "offers"), STEPS)
@pytest.mark.parametrize(("reply", "becomes"), [("550 5.0.0 no", REFUSED), ("451 4.0.0 later", DEFERRED)])
def test_a_reply_is_for_the_letter_it_answers(step: str, reply: str, becomes: Outcome, offers: list[str]) -> None:
    polite = "354 go" if step == "data" else "250 2.0.0 ok"
    letters = [letter(number) for number in range(6)]
    with scripted_relay({step: for_letter(3, say(reply), polite)}, offers=offers) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED, ACCEPTED, ACCEPTED, becomes, ACCEPTED, ACCEPTED]
        assert us.session.is_usable
        assert sorted(relay.accepted) == [f"to-{number}@example.com" for number in (0, 1, 2, 4, 5)]


@WAYS
def test_the_last_letter_leaves_the_session_ready_for_the_next(offers: list[str]) -> None:
    script = {"rcpt": for_letter(2, say("550 5.1.1 nobody"))}
    with scripted_relay(script, offers=offers) as relay, client(relay) as us:
        assert us.outcomes([letter(0), letter(1), letter(2)]) == [ACCEPTED, ACCEPTED, REFUSED]
        assert us.outcomes([letter(3)]) == [ACCEPTED]
        assert len(relay.sessions) == 1
        assert "<from-3@example.org>" in relay.taken[-1].mail, "nothing is left of the refused one"


@WAYS
def test_each_recipient_of_each_letter_has_the_answer_that_was_given_for_it(offers: list[str]) -> None:
    ann, ben, cat = "ann@example.com", "ben@example.com", "cat@example.com"
    letters = [letter(0, ann), letter(1, ann, ben, cat), letter(2, ben), letter(3, cat, ann)]
    script = {"rcpt": only_to(ben, say("550 5.1.1 nobody")), "content": for_letter(3, say("452 4.2.2 full"))}
    with scripted_relay(script, offers=offers) as relay, client(relay) as us:
        found = [{path: str(answer)[:3] for path, answer in answers.items()} for _, answers in us.transmit(letters)]
        assert found == [{ann: "250"}, {ann: "250", ben: "550", cat: "250"}, {ben: "550"}, {cat: "452", ann: "452"}]
        assert relay.accepted == {ann: 2, cat: 1}


@pytest.mark.parametrize("offers", [CHUNKED, PIPELINED], ids=["chunked", "pipelined"])
@pytest.mark.parametrize("step", ["mail", "rcpt"])
def test_a_letter_to_nobody_is_accepted_by_nobody(step: str, offers: list[str]) -> None:
    """A lenient relay asks for the content, or takes it, though it has nobody to give it to."""

    def lenient(session: Seen) -> None:
        session._recipients = session._recipients or ["nobody@example.com"]
        session.relay.taken = [each for each in session.relay.taken if each.recipients != ["nobody@example.com"]]
        say("550 5.0.0 no")(session)

    letters = [letter(number) for number in range(5)]
    with scripted_relay({step: for_letter(3, lenient)}, offers=offers) as relay, client(relay) as us:
        found = us.outcomes(letters)
        assert found[:4] == [ACCEPTED, ACCEPTED, ACCEPTED, REFUSED]
        assert found[4:] in ([ACCEPTED], [RECONNECT])
        assert relay.accepted["to-3@example.com"] == 0


# --- the session ends, or is out of step ------------------------------------------------------------------------------

BYE = both(say("421 4.3.2 bye"), close)


@TOGETHER
@pytest.mark.parametrize("step", ["mail", "rcpt", "content"])
def test_after_421_the_letters_behind_are_tried_again_at_no_cost(step: str, offers: list[str]) -> None:
    letters = [letter(number) for number in range(8)]
    with scripted_relay({step: for_letter(3, BYE)}, offers=offers) as relay, client(relay) as us:
        found = us.outcomes(letters)
        assert found[:3] == [ACCEPTED] * 3
        assert found[3] in {"mail": [PAUSE, RECONNECT], "rcpt": [PAUSE, RECONNECT], "content": [DEFERRED]}[step]
        assert set(found[4:]) == {RECONNECT}
        assert len(relay.taken) == 3
        assert not us.session.is_usable


@WAYS
def test_a_letter_whose_answer_did_not_come_is_uncertain_and_what_was_not_sent_is_not(offers: list[str]) -> None:
    letters = [letter(number) for number in range(8)]
    with scripted_relay({"content": for_letter(3, close)}, offers=offers) as relay, client(relay) as us:
        found = us.outcomes(letters)
        assert found[:4] == [*[ACCEPTED] * 3, UNCERTAIN]
        if offers is CHUNKED:
            assert found[4:] == [UNCERTAIN] * 4, "they are on the wire"
        else:
            assert set(found[4:]) <= {RECONNECT}
        assert len(relay.taken) == 3
        assert us.taken == len(found), "what was taken is answered"


def test_who_was_accepted_may_have_the_letter_whatever_was_said_of_another() -> None:
    """An answer about the sender comes for the second recipient; the content is on the wire already."""

    def taken(session: Seen) -> None:
        session.take()
        close(session)

    ann, ben = "ann@example.com", "ben@example.com"
    script = {"rcpt": only_to(ben, say("550 5.7.60 not you")), "content": for_letter(2, taken)}
    with scripted_relay(script, offers=CHUNKED) as relay, client(relay) as us:
        [_, _, (_, answers)] = us.transmit([letter(0), letter(1), letter(2, ann, ben)])
        assert {path: outcome(each).outcome for path, each in answers.items()} == {ann: UNCERTAIN, ben: REFUSED}
        assert relay.accepted[ann] == 1


def test_of_a_flight_that_was_cut_short_only_what_was_written_is_uncertain() -> None:
    """The relay stops reading, and hangs up, while the letters are being written."""
    letters = [letter(number, size=30_000) for number in range(9)]

    def stop(session: Seen) -> None:
        session.read()
        close(session)

    with scripted_relay({"mail": for_letter(2, stop)}, offers=CHUNKED) as relay, client(relay) as us:
        us.session._smtp.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        found = us.outcomes(letters)
        assert found[:2] == [ACCEPTED, ACCEPTED]
        assert set(found[2:]) <= {UNCERTAIN, RECONNECT}
        assert found[-1] is RECONNECT
        assert len(relay.taken) == 2


def test_what_a_relay_took_is_accepted_though_it_stopped_reading_before_the_end_of_the_flight() -> None:
    """It answers for the letter that it has only after we gave up writing the others."""
    letters = [letter(number, size=30_000) for number in range(9)]

    def flown(body_s: float) -> tuple[list[Outcome | None], int]:
        gave_up = Event()

        def slowly(session: Seen) -> None:
            gave_up.wait(60)
            both(say("250 2.0.0 ok"), close)(session)

        manner = replace(MANNER, timeouts_s={**MANNER.timeouts_s, Phase.BODY: body_s})
        with (
            scripted_relay({"content": for_letter(1, slowly)}, offers=CHUNKED) as relay,
            Session(Relay.from_url(relay.url), manner) as session,
        ):
            session._smtp.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            read = session.read

            def noticed(phase: Phase) -> Reply:
                if phase is Phase.CONTENT and session.letters > 1:
                    gave_up.set()
                return read(phase)

            session.read = noticed  # type: ignore[method-assign]  # to see when it gives up
            return Client(session).outcomes(letters), len(relay.taken)

    for body_s in GROWING_S:
        found, taken = flown(body_s)
        if taken == 2:
            break
    assert found[:2] == [ACCEPTED, ACCEPTED]
    assert set(found[2:]) <= {UNCERTAIN, RECONNECT}
    assert found[-1] is RECONNECT
    assert taken == 2


def test_a_relay_that_forgot_its_chunks_in_flight_refuses_nobody() -> None:
    letters = [letter(number) for number in range(5)]
    with (
        scripted_relay({"content": for_letter(2, say("503 5.5.1 what?"))}, offers=CHUNKED) as relay,
        client(relay) as us,
    ):
        assert us.outcomes(letters) == [ACCEPTED, ACCEPTED, UNCERTAIN, UNCERTAIN, UNCERTAIN]
        assert not us.session.is_usable


@TOGETHER
@pytest.mark.parametrize("stray", ["250 2.0.0 stray", "550 5.1.1 stray", "421 4.0.0 stray"])
def test_a_reply_that_nobody_asked_for_is_nobodys(stray: str, offers: list[str]) -> None:
    letters = [letter(number, f"a-{number}@example.com", f"b-{number}@example.com") for number in range(4)]
    more = both(octets(b"250 2.0.0 taken\r\n" + stray.encode() + b"\r\n"))
    with scripted_relay({"content": for_letter(1, more)}, offers=offers) as relay, client(relay) as us:
        for submission, answers in us.transmit(letters):
            for path, answer in answers.items():
                assert "stray" not in str(answer) or outcome(answer).outcome is UNCERTAIN
                if outcome(answer).outcome is ACCEPTED:
                    assert relay.accepted[path] == 1, "it is believed no sooner than it is true"
                if outcome(answer).outcome in (DEFERRED, REFUSED, RECONNECT):
                    assert relay.accepted[path] == 0, (path, answer, submission)
        # What is left over may come behind our last look; whoever lends the session looks again.
        wait_until(lambda: not us.session.is_usable or us.session.has_leftover, "the session serves no further letter")


@WAYS
@pytest.mark.parametrize("stray", ["250 2.0.0 stray", "354 stray", "451 4.3.0 stray"])
def test_a_stray_reply_that_comes_as_late_as_the_answer_to_mail_accepts_nobody(stray: str, offers: list[str]) -> None:
    """Nothing on the wire tells it from the answer to MAIL: what it may cost is another try, and the session."""
    late = octets(stray.encode() + b"\r\n250 2.1.0 ok\r\n")
    letters = [letter(number) for number in range(3)]
    with scripted_relay({"mail": for_letter(1, late)}, offers=offers) as relay, client(relay) as us:
        for submission, answers in us.transmit(letters):
            for path, answer in answers.items():
                if outcome(answer).outcome is ACCEPTED:
                    assert relay.accepted[path] == 1, "it is believed no sooner than it is true"
                if outcome(answer).outcome in (DEFERRED, RECONNECT):
                    assert relay.accepted[path] == 0, (path, answer, submission)
                assert outcome(answer).outcome is not REFUSED
        wait_until(lambda: not us.session.is_usable or us.session.has_leftover, "the session serves no further letter")


def test_a_positive_reply_that_nobody_asked_for_accepts_no_letter() -> None:
    """From it on the reply to RCPT stands where that to BDAT is read."""
    answers: Reaction = octets(b"250 2.0.0 taken\r\n250 2.0.0 stray\r\n")
    script = {"content": [say("250 ok"), answers, say("451 4.3.0 later"), say("250 ok")]}
    with scripted_relay(script, offers=CHUNKED) as relay, client(relay) as us:
        assert us.outcomes([letter(number) for number in range(4)]) == [ACCEPTED, ACCEPTED, UNCERTAIN, UNCERTAIN]
        assert not us.session.is_usable


@WAYS
def test_what_came_before_the_first_letter_is_nobodys(offers: list[str]) -> None:
    with scripted_relay(offers=offers) as relay, client(relay) as us:
        relay.sessions[0].write(b"550 5.1.1 stray\r\n")
        assert us.outcomes([letter(0), letter(1)]) in ([RECONNECT], [RECONNECT, RECONNECT])
        assert relay.commands == [relay.commands[0]]
        assert not us.session.is_usable


# --- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["bdat", "unread"])
@pytest.mark.parametrize("reply", ["500 what?", "502 5.5.1 not here", "503 5.5.1 no", "554 5.5.1 no"])
def test_a_relay_that_does_not_know_the_chunks_that_it_offered_gets_data(step: str, reply: str) -> None:
    letters = [letter(number) for number in range(4)]
    with scripted_relay({step: say(reply)}, offers=CHUNKED) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED] * 4
        assert us.session.letters == 4, "it is tried again at no cost"
        assert [each for each in relay.commands if each.startswith("BDAT")] == ["BDAT 1"], "and remembered"
        assert len(relay.taken) == 4
        assert us.session.is_usable


def test_no_content_is_taken_for_commands_by_a_relay_that_does_not_know_its_chunks() -> None:
    smuggled = Submission(letter(0).envelope, [b"MAIL FROM:<eve@example.com>\r\nRCPT TO:<cat@example.com>\r\nDATA\r\n"])
    with scripted_relay({"unread": say("500 what?")}, offers=CHUNKED) as relay, client(relay) as us:
        assert us.outcomes([smuggled, letter(1)]) == [ACCEPTED] * 2
        assert not any("eve" in each or "cat" in each for each in relay.commands)


def test_a_relay_that_refused_everybody_and_does_not_know_its_chunks_stays_in_step() -> None:
    script = {"unread": say("500 what?"), "rcpt": for_letter(0, say("550 5.1.1 nobody"))}
    with scripted_relay(script, offers=CHUNKED) as relay, client(relay) as us:
        assert us.outcomes([letter(0), letter(1), letter(2)]) == [REFUSED, ACCEPTED, ACCEPTED]
        assert len(relay.sessions) == 1


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize(("reply", "becomes"), [("452 4.3.0 later", DEFERRED), ("552 5.3.4 too large", REFUSED)])
def test_no_letter_is_accepted_by_halves(chunk: int, reply: str, becomes: Outcome) -> None:
    script = {"bdat": [*[say("250 ok")] * chunk, say(reply), say("250 ok")]}
    with scripted_relay(script, offers=CHUNKED) as relay, client(relay) as us:
        assert us.outcomes([letter(0, size=3_000_000), letter(1)]) == [becomes, ACCEPTED]
        assert relay.accepted == {"to-1@example.com": 1}
        assert us.asked == [[1]], "nothing of its end was sent"
        assert len(relay.sessions) == 1


def test_a_last_line_without_its_end_gets_it() -> None:
    submission = Submission(letter(0).envelope, [b"Subject: x\r\n\r\nhi"])
    with scripted_relay(offers=CHUNKED) as relay, client(relay) as us:
        us.outcomes([submission, submission])
        assert [taken.content for taken in relay.taken] == [b"Subject: x\r\n\r\nhi\r\n"] * 2


# --- parameters -------------------------------------------------------------------------------------------------------


def reports(number: int, *to: str) -> Submission:
    """A letter that asks for reports."""
    envelope = Envelope(
        f"from-{number}@example.org", to, notify=("success", "failure"), ret="headers", envid="id=1+ü".replace("ü", "x")
    )
    return Submission(envelope, letter(number).content)


@WAYS
def test_reports_are_asked_for_where_they_are_offered(offers: list[str]) -> None:
    with scripted_relay(offers=[*offers, "DSN"]) as relay, client(relay) as us:
        us.transmit([letter(0), letter(1), reports(2, "a+b=c@example.com", "пётр@example.com")])
        mails = [each for each in relay.commands if each.startswith("MAIL")]
        assert "RET" not in mails[1]
        assert mails[2].endswith(" SMTPUTF8 RET=HDRS ENVID=id+3D1+2Bx")
        assert [each for each in relay.commands if each.startswith("RCPT")][2:] == [
            "RCPT TO:<a+b=c@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb+3Dc@example.com",
            "RCPT TO:<пётр@example.com> NOTIFY=SUCCESS,FAILURE",
        ]


def test_reports_are_not_asked_for_where_they_are_not_offered() -> None:
    with scripted_relay() as relay, client(relay) as us:
        assert us.outcomes([reports(0, "ann@example.com")]) == [ACCEPTED]
        assert not any(word in command for command in relay.commands for word in ("RET", "ENVID", "NOTIFY", "ORCPT"))


@WAYS
def test_a_relay_that_does_not_take_the_parameters_that_it_offered_gets_the_letter_without(offers: list[str]) -> None:
    def choosy(session: Seen) -> None:
        say("555 5.5.4 what?" if "ENVID" in session.commands[-1] else "250 ok")(session)

    letters = [letter(0), letter(1), reports(2, "a@example.com"), letter(3), reports(4, "b@example.com"), letter(5)]
    with scripted_relay({"mail": choosy}, offers=[*offers, "DSN"]) as relay, client(relay) as us:
        assert us.outcomes(letters) == [ACCEPTED] * 6
        assert us.session.letters == 6
        assert set(relay.accepted.values()) == {1}
        assert len(relay.taken) == 6


def test_a_letter_whose_end_was_not_answered_is_uncertain_though_a_parameter_seemed_not_to_be_taken() -> None:
    stray = both(say("555 5.5.4 what?"), say("250 ok"))
    script = {"mail": [say("250 ok"), stray], "rcpt": [say("250 ok"), close]}
    with scripted_relay(script, offers=CHUNKED) as relay, client(relay) as us:
        assert us.outcomes([letter(0), letter(1)]) == [ACCEPTED, Outcome.UNCERTAIN]


# --- both sides write at once -----------------------------------------------------------------------------------------


@WAYS
def test_long_replies_do_not_block_both_sides(offers: list[str]) -> None:
    """The buffers are small: who writes all before reading waits for ever (RFC 2920 §3.1)."""
    long = say("250 2.1.5 " + "x" * 1000)
    letters = [letter(number, *(f"to-{number}-{each}@example.com" for each in range(60))) for number in range(12)]
    with scripted_relay({"rcpt": long, "mail": long}, offers=offers) as relay, client(relay) as us:
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            us.session._smtp.wire.sock.setsockopt(socket.SOL_SOCKET, buffer, 4096)
        for _, answers in us.transmit(letters):
            assert {outcome(each).outcome for each in answers.values()} == {ACCEPTED}
        assert len(relay.accepted) == 720


@WAYS
def test_letters_fly_encrypted_too(offers: list[str]) -> None:
    authority = trustme.CA()
    long = say("250 2.1.5 " + "x" * 1000)
    letters = [letter(number, size=size) for number, size in enumerate([0, 30_000, 30_000, 0, 1_000_000, 0, 30_000])]
    with scripted_relay({"mail": long, "rcpt": long}, offers=offers) as relay, authority.cert_pem.tempfile() as ca_file:
        authority.issue_cert("127.0.0.1").configure_cert(relay.use_tls(implicit=True))
        url = relay.url.replace("smtp:", "smtps:")
        with Session(Relay.from_url(url), replace(MANNER, ca_file=ca_file)) as session:
            assert Client(session).outcomes(letters) == [ACCEPTED] * 7
    assert [taken.message for taken in relay.taken] == [each.content[0] for each in letters]
