"""Transactions: what goes over the wire, and what each answer means for each recipient."""

from __future__ import annotations

import contextlib
import re
from collections import Counter

import pytest

from house import Desk, but_for_rset, desk
from postroom import InvalidLetter, Letter, LetterState, LetterStatus, RecipientState, make_mime_part
from postroom_worker.dev.scripted_relay import (
    OFFERS,
    Reaction,
    Script,
    ScriptedRelay,
    Session,
    both,
    close,
    octets,
    only_to,
    reset,
    say,
    scripted_relay,
)

ANN, BEN, CAT = "ann@example.com", "ben@example.com", "cat@example.com"
PLAIN = [each for each in OFFERS if each != "PIPELINING"]
CHUNKED = [*OFFERS, "CHUNKING"]


def states(status: LetterStatus) -> dict[str, tuple[RecipientState, int]]:
    """By recipient: its state, and how many attempts it cost."""
    return {address: (each.state, each.attempts) for address, each in status.recipients.items()}


def composed(here: Desk, letter_id: str, relay: ScriptedRelay) -> bytes:
    """The one letter that the relay took, unstuffed."""
    [taken] = relay.taken
    assert letter_id in taken.content.decode("latin-1")
    return taken.message


# --- what goes over the wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offers", [OFFERS, PLAIN], ids=["pipelined", "one by one"])
def test_the_commands_and_the_content(offers: list[str], redis_url: str) -> None:
    with scripted_relay(offers=offers) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept([ANN, BEN], "one\n.two\n..\n.\n\n.three")
        assert here.deliver(receipt).state is LetterState.SENT
        message = composed(here, receipt.id, relay)
        assert relay.commands[1:] == [
            f"MAIL FROM:<bob@example.org> SIZE={len(message)}",
            f"RCPT TO:<{ANN}>",
            f"RCPT TO:<{BEN}>",
            "DATA",
        ]
        assert message.endswith(b"\r\n\r\none\r\n.two\r\n..\r\n.\r\n\r\n.three\r\n")
        assert relay.taken[0].content.endswith(b"one\r\n..two\r\n...\r\n..\r\n\r\n..three\r\n")


def test_a_large_letter_arrives_whole(redis_url: str) -> None:
    big = bytes(range(256)) * 12_000
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept(ANN, "see attached", attachments=[("big.bin", big)])
        assert here.deliver(receipt).state is LetterState.SENT
        message = composed(here, receipt.id, relay)
        assert len(message) > len(big) * 4 / 3
        assert max(map(len, message.split(b"\r\n"))) <= 998


def test_the_null_reverse_path(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept(ANN, envelope_from="<>"))
        assert relay.commands[1].startswith("MAIL FROM:<> ")


def test_8bitmime_is_asked_for_when_the_content_needs_it(redis_url: str) -> None:
    part = make_mime_part(text="grüß", encoding="8bit")
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept(ANN, "hi"))
        here.deliver(here.accept(ANN, part))
        plain, eight_bit = [each for each in relay.commands if each.startswith("MAIL")]
        assert "BODY" not in plain
        assert eight_bit.endswith(" BODY=8BITMIME")


def test_smtputf8_is_asked_for_when_an_address_needs_it(redis_url: str) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        here.deliver(here.accept(ANN))
        here.deliver(here.accept([ANN, "пётр@example.com"]))
        plain, international = [each for each in relay.commands if each.startswith("MAIL")]
        assert "SMTPUTF8" not in plain
        assert international.endswith(" SMTPUTF8")
        assert "RCPT TO:<пётр@example.com>" in relay.commands


def test_who_alone_needs_smtputf8_is_refused_alone_where_it_is_not_offered(redis_url: str) -> None:
    with scripted_relay(offers=["8BITMIME"]) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(ANN, bcc="пётр@example.com"))
        assert states(status) == {
            ANN: (RecipientState.ACCEPTED, 1),
            "пётр@example.com": (RecipientState.REFUSED, 1),
        }
        assert "SMTPUTF8" in status.recipients["пётр@example.com"].reply
        assert relay.accepted == {ANN: 1}


def test_nobody_gets_a_letter_whose_header_needs_smtputf8_where_it_is_not_offered(redis_url: str) -> None:
    with scripted_relay(offers=["8BITMIME"]) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, "пётр@example.com"]))
        assert status.state is LetterState.FAILED
        assert relay.taken == []


@pytest.mark.parametrize("limit", ["SIZE", "SIZE 0", "SIZE -1", "SIZE 1e9", "SIZE ٣", "SIZE 99999999999999999999"])
def test_a_size_that_limits_nothing(limit: str, redis_url: str) -> None:
    with scripted_relay(offers=[limit]) as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept(ANN)).state is LetterState.SENT


def test_of_two_sizes_the_last_counts(redis_url: str) -> None:
    with scripted_relay(offers=["SIZE 10", "SIZE 10000000"]) as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept(ANN)).state is LetterState.SENT


def test_a_letter_beyond_the_size_limit_is_refused_before_it_is_sent(redis_url: str) -> None:
    with scripted_relay(offers=["SIZE 1000"]) as relay, desk(redis_url, relay.url) as here:
        small, large = here.accept(ANN), here.accept(ANN, "x" * 70 + "\n" * 1000)
        assert here.deliver(large).state is LetterState.FAILED
        assert "SIZE" in large.status().recipients[ANN].reply
        assert here.deliver(small).state is LetterState.SENT
        assert but_for_rset(relay.verbs) == ["EHLO", "MAIL", "RCPT", "DATA"], "the session serves the next letter"


HOSTILE = [
    "\n.\n",
    "\r.\r",
    "\r\n.\r\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r\n",
    "\r\n.\r",
    "\r\r\n.\r\r\n",
    "\r\n\x00.\r\n",
    ".",
    "..",
    "\r\n.",
]


@pytest.mark.parametrize("offers", [OFFERS, CHUNKED], ids=["data", "chunks"])
@pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64", None])
def test_no_content_ends_the_letter_early_for_any_server(
    encoding: str | None, offers: list[str], redis_url: str
) -> None:
    """SMTP smuggling: a lenient server that takes another sequence for the end finds none, nor does the one behind."""
    letters = 0
    with scripted_relay(offers=offers) as relay, desk(redis_url, relay.url) as here:
        for end in HOSTILE:
            smuggled = f"before{end}MAIL FROM:<eve@example.com>\r\nRCPT TO:<{CAT}>\r\nDATA\r\nboo{end}after"
            here.deliver(here.accept(ANN, "attached", attachments=[("a.txt", smuggled.encode())]))
            letters += 1
            ready = f"From: {ANN}\nTo: {ANN}\nSubject: hi\n\n{smuggled}".encode()
            with contextlib.suppress(InvalidLetter):  # for a NUL
                here.deliver(here.record(Letter.from_bytes(ready, settings=here.office.settings)))
                letters += 1
            try:
                part = make_mime_part(text=smuggled, encoding=encoding)
            except InvalidLetter:
                continue  # what cannot be sent is refused where it is made
            here.deliver(here.accept(ANN, part))
            letters += 1
        assert [verb for verb in relay.verbs if verb in ("MAIL", "RCPT")] == ["MAIL", "RCPT"] * letters
        assert relay.accepted == {ANN: letters}
        for taken in relay.taken:
            assert not re.search(rb"(?<!\r)\n|\r(?!\n)", taken.content), "no bare CR, no bare LF"
            assert offers is CHUNKED or not re.search(rb"(?:^|[\r\n])\.(?:[\r\n]|$)", taken.content), "no dot alone"


@pytest.mark.parametrize("offers", [OFFERS, PLAIN], ids=["pipelined", "one by one"])
def test_a_relay_that_does_not_take_the_size_it_asked_for_gets_the_letter_without(
    offers: list[str], redis_url: str
) -> None:
    def no_size(session: Session) -> None:
        say("555 5.5.4 SIZE?" if "SIZE=" in session.commands[-1] else "250 ok")(session)

    with scripted_relay({"mail": no_size}, offers=offers) as relay, desk(redis_url, relay.url) as here:
        for _ in range(2):
            status = here.deliver(here.accept([ANN, BEN]))
            assert states(status) == dict.fromkeys([ANN, BEN], (RecipientState.ACCEPTED, 1))
        assert len(relay.sessions) == 1
        assert sum("SIZE=" in each for each in relay.commands) == 1, "it is remembered for the session"
        assert relay.accepted == {ANN: 2, BEN: 2}


@pytest.mark.parametrize(("after", "times"), [(say("250 ok"), 2), (close, 1), (say("421 bye"), 1)])
def test_a_relay_that_does_not_take_the_command_without_a_parameter_either_makes_no_loop(
    after: Reaction, times: int, redis_url: str
) -> None:
    with scripted_relay({"mail": say("555 5.5.4 no"), "rset": after}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(ANN))
        assert states(status) == {ANN: (RecipientState.DEFERRED, 1)}
        assert relay.verbs.count("MAIL") == times


# --- recipients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offers", [OFFERS, PLAIN], ids=["pipelined", "one by one"])
def test_each_recipient_has_the_answer_that_was_given_for_it(offers: list[str], redis_url: str) -> None:
    script = {"rcpt": [say("250 2.1.5 ok"), say("451 4.7.1 later"), say("550 5.1.1 nobody")]}
    with scripted_relay(script, offers=offers) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN, CAT]))
        assert states(status) == {
            ANN: (RecipientState.ACCEPTED, 1),
            BEN: (RecipientState.DEFERRED, 1),
            CAT: (RecipientState.REFUSED, 1),
        }
        assert relay.accepted == {ANN: 1}


def test_without_pipelining_no_content_is_asked_for_when_nobody_was_accepted(redis_url: str) -> None:
    script = {"rcpt": say("550 5.1.1 nobody")}
    with scripted_relay(script, offers=PLAIN) as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept([ANN, BEN])).state is LetterState.FAILED
        assert relay.verbs == ["EHLO", "MAIL", "RCPT", "RCPT", "RSET"]


@pytest.mark.parametrize("code", ["550 5.1.1", "451 4.7.1"])
def test_a_relay_that_asks_for_content_though_it_refused_everybody_gets_none(code: str, redis_url: str) -> None:
    script: Script = {"rcpt": [say(code), say(code), say("250 ok")], "data": say("354 go"), "content": say("554 no")}
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN]))
        assert {each.reply[:3] for each in status.recipients.values()} == {code[:3]}
        assert relay.taken == []
        here.deliver(here.accept(CAT))
        assert relay.verbs[:6] == ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "RSET"]
        assert but_for_rset(relay.verbs[6:]) == ["MAIL", "RCPT", "DATA"]


def test_a_relay_that_refused_the_sender_and_asks_for_content_all_the_same_gets_none(redis_url: str) -> None:
    lenient: dict[str, Reaction] = {"mail": say("550 5.1.8 not you"), "rcpt": say("250 ok"), "data": say("354 go")}
    with scripted_relay(lenient, {}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN]))
        assert states(status) == dict.fromkeys([ANN, BEN], (RecipientState.REFUSED, 1))
        assert relay.taken == [], "an empty letter to both is what it would have made of a dot"
        assert here.deliver(here.accept(CAT)).state is LetterState.SENT


@pytest.mark.parametrize("offers", [OFFERS, PLAIN], ids=["pipelined", "one by one"])
def test_a_relay_that_goes_away_among_the_recipients_costs_no_attempt(offers: list[str], redis_url: str) -> None:
    script = {"rcpt": [say("250 ok"), both(say("421 4.3.2 bye"), close)]}
    with scripted_relay(script, offers=offers) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN, CAT]))
        assert status.state is LetterState.DEFERRED
        assert states(status) == dict.fromkeys([ANN, BEN, CAT], (RecipientState.DEFERRED, 0))
        assert here.standing().state != "closed"
        assert relay.taken == []


def test_the_recipients_beyond_a_relays_limit_go_in_transactions_of_their_own(redis_url: str) -> None:
    def two_at_most(session: Session) -> None:
        before = [command.partition(" ")[0] for command in session.commands]
        in_this = before[len(before) - before[::-1].index("MAIL") :].count("RCPT")
        say("250 ok" if in_this <= 2 else "452 4.5.3 too many recipients")(session)

    to = [f"r{number}@example.com" for number in range(7)]
    with scripted_relay({"rcpt": two_at_most}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(to))
        assert status.state is LetterState.SENT
        assert states(status) == dict.fromkeys(to, (RecipientState.ACCEPTED, 1))
        assert relay.accepted == Counter(to)
        assert [len(taken.recipients) for taken in relay.taken] == [2, 2, 2, 1]
        assert len(relay.sessions) == 1


def test_a_relay_that_has_too_many_recipients_with_the_first_one_makes_no_loop(redis_url: str) -> None:
    with scripted_relay({"rcpt": say("452 4.5.3 too many")}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN]))
        assert states(status) == dict.fromkeys([ANN, BEN], (RecipientState.DEFERRED, 1))
        assert relay.verbs.count("MAIL") == 1


def test_a_thousand_recipients_do_not_block_both_sides(redis_url: str) -> None:
    """Each reply is long, the buffers are small: who writes all before reading waits for ever (RFC 2920 §3.1)."""
    to = [f"recipient-{number}@example.com" for number in range(1000)]
    with scripted_relay({"rcpt": say("250 2.1.5 " + "x" * 1000)}) as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept(to)).state is LetterState.SENT
        assert relay.accepted == Counter(to)


# --- the content ------------------------------------------------------------------------------------------------------


def test_only_354_asks_for_the_content(redis_url: str) -> None:
    with scripted_relay({"data": say("250 2.0.0 ok")}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN]))
        assert states(status) == dict.fromkeys([ANN, BEN], (RecipientState.DEFERRED, 1))
        assert relay.taken == []


@pytest.mark.parametrize(
    ("step", "reply", "becomes"),
    [
        ("mail", "220 2.0.0 hello", RecipientState.DEFERRED),
        ("mail", "354 go ahead", RecipientState.DEFERRED),
        ("mail", "555 5.5.4 what?", RecipientState.DEFERRED),
        ("rcpt", "251 2.1.5 will forward to <eve@example.net>", RecipientState.ACCEPTED),
        ("rcpt", "252 2.1.5 cannot tell, will try", RecipientState.ACCEPTED),
        ("rcpt", "354 go ahead", RecipientState.DEFERRED),
        ("rcpt", "555 5.5.2 syntax error", RecipientState.REFUSED),
        ("rcpt", "555 what?", RecipientState.REFUSED),
        ("rcpt", "555 5.5.4 what parameter?", RecipientState.DEFERRED),
        ("rcpt", "551 5.1.6 try <eve@example.net>", RecipientState.REFUSED),
        ("data", "252 2.0.0 ok", RecipientState.DEFERRED),
        ("content", "354 go on", RecipientState.DEFERRED),
    ],
)
@pytest.mark.parametrize("offers", [OFFERS, PLAIN], ids=["pipelined", "one by one"])
def test_a_reply_of_another_phase_accepts_nobody_and_no_other_address_is_followed(
    offers: list[str], step: str, reply: str, becomes: RecipientState, redis_url: str
) -> None:
    with scripted_relay({step: say(reply)}, {}, offers=offers) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(ANN))
        assert states(status) == {ANN: (becomes, 1)}
        assert relay.accepted == ({ANN: 1} if becomes is RecipientState.ACCEPTED else {})
        assert status.recipients[ANN].reply.startswith("uncertain") == (step == "content")


def test_a_354_of_several_lines_asks_for_the_content(redis_url: str) -> None:
    with scripted_relay({"data": say("354-go\r\n354 ahead")}) as relay, desk(redis_url, relay.url) as here:
        assert here.deliver(here.accept(ANN)).state is LetterState.SENT
        assert relay.accepted == {ANN: 1}


def test_a_letter_that_always_ends_uncertain_is_held_after_three_copies(redis_url: str) -> None:
    # The relay takes the letter; what it says of it never comes to its end.
    takes_and_drops: Reaction = both(octets(b"250 taken"), close)
    with scripted_relay({"content": takes_and_drops}) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept(ANN)
        for attempt in (1, 2):
            status = here.deliver(receipt)
            assert (status.state, status.attempts) == (LetterState.DEFERRED, attempt)
            assert status.recipients[ANN].reply.startswith("uncertain, it may have been accepted")
            here.ledger.redis.zadd(here.ledger.keys.index_of(receipt.id, LetterState.DEFERRED), {receipt.id: 0})
            assert here.ledger.release_due(10)
        status = here.deliver(receipt)
        assert status.state is LetterState.HELD
        assert "uncertain" in status.reason
        assert relay.accepted == {ANN: 3}
        assert {taken.content for taken in relay.taken} == {relay.taken[0].content}, "the same octets each time"


def test_an_uncertain_letter_under_hold_is_held_at_once(redis_url: str) -> None:
    with scripted_relay({"content": close}) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept(ANN, on_uncertain="hold")
        assert here.deliver(receipt).state is LetterState.HELD


FAULTS: dict[str, Reaction] = {
    "close": close,
    "reset": reset,
    "garbage": both(octets(b"\xff\x00garbage"), close),
    "half a reply": both(octets(b"250-half\r\n"), close),
    "421": both(say("421 4.3.2 bye"), close),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "body", "content"])
def test_no_fault_of_the_line_refuses_anybody(step: str, fault: str, redis_url: str) -> None:
    large = "x" * 70 + "\n" + "y" * 70 + "\n"
    with scripted_relay({step: FAULTS[fault]}, {}) as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept([ANN, BEN], large * 50_000 if step == "body" else "hi", on_uncertain="hold")
        status = here.deliver(receipt)
        is_uncertain = step == "content" and fault != "421"
        assert status.state is (LetterState.HELD if is_uncertain else LetterState.DEFERRED)
        assert {each.state for each in status.recipients.values()} <= {
            RecipientState.PENDING,
            RecipientState.DEFERRED,
        }
        if not is_uncertain:
            assert relay.taken == []


def test_a_relay_that_says_why_in_the_middle_of_the_content_is_heard(redis_url: str) -> None:
    large = "x" * 70 + "\n"
    no: Reaction = both(say("552 5.3.4 too large for us"), close)
    with scripted_relay({"body": no}) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept(ANN, large * 100_000))
    assert status.state is LetterState.FAILED
    assert status.recipients[ANN].reply == "552 5.3.4 too large for us"


def test_an_answer_about_one_recipient_leaves_the_others_alone(redis_url: str) -> None:
    script = {"rcpt": only_to(BEN, say("550 5.1.1 nobody"))}
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN, CAT]))
        assert status.state is LetterState.PARTIAL
        assert relay.accepted == {ANN: 1, CAT: 1}


def test_an_answer_about_the_sender_in_place_of_a_recipient_is_for_everybody(redis_url: str) -> None:
    script = {"rcpt": only_to(BEN, say("550 5.7.60 you may not send as this sender"))}
    with scripted_relay(script) as relay, desk(redis_url, relay.url) as here:
        status = here.deliver(here.accept([ANN, BEN, CAT]))
        assert states(status) == dict.fromkeys([ANN, BEN, CAT], (RecipientState.REFUSED, 1))
        assert relay.taken == []
