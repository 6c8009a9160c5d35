"""The command as an operator uses it, on real ledgers, relays and workers."""

from __future__ import annotations

import re
from email import message_from_bytes
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster import all_keys
from command import done, in_a_terminal, objects, postroom
from house import House, NewHouse, desk
from postroom import LetterState, Receipt, RecipientState
from postroom.cli import main
from postroom.ledger import NewLetter, Recipient, audit
from postroom.ledger.views import account, begins_in_ms, circumstances, counts
from postroom_worker.dev.capture import greylisted, refused
from postroom_worker.dev.server import wait_until

HOSTILE = "\x1b]0;owned\x07[bold]x[/foo] \u202egnp.exe\r\x1b[2J"
HOUR_S = 3600
LATER_MS = 4_000_000_000_000


def state(receipt: Receipt) -> LetterState:
    return receipt.status().state


def put(
    house: House,
    letter_id: str,
    *,
    in_state: LetterState = LetterState.FAILED,
    subject: str = "hi",
    reply: str = HOSTILE,
    tags: tuple[str, ...] = (),
    letter: bytes = b"{}",
) -> None:
    """Record a letter that is in some state already."""
    answer = house.ledger.accept(
        NewLetter(
            id=letter_id,
            letter=letter,
            digest=letter_id,
            recipients=[Recipient("ann@example.com", RecipientState.REFUSED, reply, 1)],
            state=in_state,
            give_up_in_ms=HOUR_S * 1000,
            queue="postroom",
            subject=subject,
            tags=tags,
        )
    )
    assert answer == "accepted"


@pytest.fixture
def settled(new_house: NewHouse) -> tuple[House, Receipt, Receipt, Receipt]:
    """A house with a letter that was sent, one that failed, and one that is deferred for an hour."""
    hourly = {"POSTROOM_RETRY_FIRST_S": "3600", "POSTROOM_RETRY_MAX_S": "3600"}
    here = new_house(**hourly)
    here.answers["gone@example.com"] = refused
    here.answers["grey@example.com"] = greylisted(1)
    with desk(here.environment["POSTROOM_REDIS_URL"], here.relay.url, **hourly) as by_hand:
        sent = by_hand.accept("ann@example.com", subject="lunch")
        failed = by_hand.accept("gone@example.com", subject="farewell")
        deferred = by_hand.accept(["grey@example.com", "gone@example.com"], subject="patience")
        assert [by_hand.deliver(each).state for each in (sent, failed, deferred)] == ["sent", "failed", "deferred"]
    return here, sent, failed, deferred


# --- looking --------------------------------------------------------------------------------------------------------


def test_list_shows_first_what_may_need_somebody_and_why(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, sent, failed, deferred = settled
    head, *lines = done(here, "list").splitlines()
    assert head.split() == ["ID", "STATE", "AGE", "NEXT", "TO", "·", "SUBJECT", "·", "LAST", "REPLY"]
    words = [line.split() for line in lines]
    assert [line[:2] for line in words[::2]] == [[failed.id, "failed"], [deferred.id, "deferred"], [sent.id, "sent"]]
    assert lines[0].endswith("gone@example.com · farewell")
    assert lines[1].strip() == "550 5.1.1 No such mailbox here"
    assert re.search(r" \d+[mh]  grey@example.com \+1 · patience$", lines[2])
    assert lines[3].strip() == "451 4.7.1 Greylisted, please come back later"
    assert len(lines) == 5


def test_list_shows_the_letters_of_the_states_that_are_named(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, sent, failed, _ = settled
    found = objects(done(here, "list", "--json", "--state", "sent", "--state", "failed"))
    assert [each["id"] for each in found] == [sent.id, failed.id]
    assert found[1]["recipients"] == {
        "gone@example.com": {"state": "refused", "reply": "550 5.1.1 No such mailbox here", "attempts": 1}
    }


def test_list_and_acts_find_letters_by_tag_recipient_reply_code_and_time(new_house: NewHouse) -> None:
    here = new_house()
    put(here, "a", tags=("spring", "news"), reply="550 5.1.1 No such mailbox")
    put(here, "b", tags=("news",), reply="552 5.2.2 Mailbox full")
    put(here, "c", reply="421 busy")

    def ids(*filters: str) -> list[str]:
        return sorted(each["id"] for each in objects(done(here, "list", "--json", *filters)))

    assert ids("--tag", "news") == ["a", "b"]
    assert ids("--tag", "spring", "--tag", "other") == ["a"]
    assert ids("--code", "5xx", "--recipient", "example.com") == ["a", "b"]
    assert ids("--code", "5.2.2") == ["b"]
    assert ids("--recipient", "ann@example.org") == []
    assert ids("--since", "1h") == ["a", "b", "c"]
    assert ids("--before", "1h") == []
    result = postroom(here, "list", "--tag", "news", "--limit", "1")
    assert result.stderr == "the first 1 letter; --limit 0 lists them all\n"
    result = postroom(here, "list", "--tag", "autumn", "--state", "failed", "--code", "4xx")
    assert result.stderr == "there are no failed letters, tag autumn, code 4xx\n"
    result = postroom(here, "purge", "--tag", "news", "--code", "5.1.x", "--yes")
    assert result.stderr == "1 failed letter will be removed for good, content and account\n"
    assert ids() == ["b", "c"]
    assert done(here, "retry", "--recipient", "example.com", "--dry-run").startswith("2 letters would be sent again")


def test_list_reads_page_by_page_and_says_when_there_is_more(new_house: NewHouse) -> None:
    here = new_house()
    ids = [f"letter-{number:03}" for number in range(250)]
    for letter_id in ids:
        put(here, letter_id)
    result = postroom(here, "list", "--limit", "120", "--json")
    assert len({each["id"] for each in objects(result.stdout)}) == 120
    assert result.stderr == "120 of 250 letters; --limit 0 lists them all\n"
    result = postroom(here, "list", "--limit", "0", "--json")
    assert sorted(each["id"] for each in objects(result.stdout)) == ids
    assert result.stderr == ""


def test_an_empty_ledger_is_no_failure(new_house: NewHouse) -> None:
    here = new_house()
    assert postroom(here, "list").stderr == "there are no letters\n"
    assert postroom(here, "list", "--state", "held").stderr == "there are no held letters\n"
    assert postroom(here, "retry", "--state", "failed").stderr == "there are no failed letters: nothing to do\n"
    assert done(here, "list") == ""


def test_show_tells_the_whole_story_of_a_letter(shared: House) -> None:
    shared.answers["greylisted@cli.example"] = greylisted(1)
    shared.answers["refused@cli.example"] = refused
    to = ["accepted@cli.example", "greylisted@cli.example", "refused@cli.example"]
    receipt = shared.postroom.send_letter(to, "hi", subject="three")
    assert receipt.wait().state is LetterState.PARTIAL
    lines = done(shared, "show", receipt.id).splitlines()
    words = [line.split() for line in lines]
    assert words[0] == ["Letter", receipt.id, "partial"]
    assert words[2] == ["Subject", "three"]
    assert ["greylisted@cli.example", "accepted", "2", "250"] in [line[:4] for line in words]
    story = [line[2:] for line in words if line and re.fullmatch(r"\d{4}-\d\d-\d\d", line[0])]
    assert [line[:2] for line in story] == [["accepted,", "ready"], ["attempt", "1"], ["attempt", "2"]]
    rows = [line.split()[:3] for line in lines if line.startswith(" ") and "@" in line]
    assert rows == [
        ["accepted@cli.example", "accepted", "250"],
        ["greylisted@cli.example", "deferred", "451"],
        ["refused@cli.example", "refused", "550"],
        ["greylisted@cli.example", "accepted", "250"],
    ]
    assert ["next", "attempt", "at"] in [line[:3] for line in words]


def test_show_in_json_gives_what_the_ledger_has(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, _, _, deferred = settled
    (shown,) = objects(done(here, "show", "--json", deferred.id))
    assert shown["state"] == "deferred"
    assert shown["next_attempt_at"] == deferred.status().next_attempt_at
    assert shown["history"] == list(account(here.ledger, deferred.id).history)


def test_show_tells_what_is_in_a_letter_while_it_is_kept(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, sent, *_ = settled
    receipt = here.postroom.send_letter(
        "Zoë <zoe@example.com>",
        subject="請求書 \u202e",
        html="<p>Dear <b>Zoë</b>,</p><p>\x1b[2J[bold]here[/] it is</p>" + "<p>again</p>" * 30,
        attachments=[("large.bin", bytes(100_000))],
    )
    lines = done(here, "show", receipt.id).splitlines()
    words = [line.split() for line in lines]
    assert ["To", "Zoë", "<zoe@example.com>"] in words
    assert ["Subject", "請求書", "\\u202e"] in words[words.index(["To", "Zoë", "<zoe@example.com>"]) :]
    assert ["Dear", "Zoë,"] in words
    assert ["\\x1b[2J[bold]here[/]", "it", "is"] in words
    assert lines.count("again") < 30
    assert any(line.startswith("… and ") for line in lines)
    assert ["application/octet-stream", "100,000", "large.bin"] in words
    (shown,) = objects(done(here, "show", "--json", receipt.id))
    assert ["To", "Zoë <zoe@example.com>"] in shown["content"]["header"]
    assert shown["content"]["text"].startswith("Dear Zoë,")
    assert shown["content"]["parts"][-1] == {
        "content_type": "application/octet-stream",
        "name": "large.bin",
        "octets": 100_000,
    }
    assert "is no longer kept: it was sent" in done(here, "show", sent.id)


def test_show_of_a_letter_whose_content_cannot_be_read_shows_all_else(new_house: NewHouse) -> None:
    here = new_house()
    put(here, "x")
    printed = done(here, "show", "x")
    assert "letter x cannot be composed" in printed
    assert "failed" in printed
    assert postroom(here, "show", "--raw", "x").exit_code == 1


def test_a_letter_of_a_newer_postroom_is_shown_and_explained_but_for_its_content(new_house: NewHouse) -> None:
    here = new_house()
    put(here, "x", letter=b'{"schema":900}')
    printed = done(here, "show", "x")
    assert "ann@example.com" in printed
    assert "letter x cannot be composed: the letter is of schema 900" in printed
    assert "it is kept until it is retried or purged" in done(here, "explain", "x")


def test_show_of_a_rejected_letter_shows_it_as_it_came(new_house: NewHouse) -> None:
    here = new_house()
    came = '{"to": "ann@example.com",\n "\x1b[2J": [bold]}'
    put(here, "x", in_state=LetterState.REJECTED, letter=came.encode())
    printed = done(here, "show", "x")
    assert '{"to": "ann@example.com",\n "\\x1b[2J": [bold]}\n' in printed
    assert "cannot be composed" not in printed
    (shown,) = objects(done(here, "show", "--json", "x"))
    assert (shown["state"], shown["content"]) == ("rejected", None)
    assert done(here, "show", "--raw", "x") == came


def test_show_raw_gives_the_octets_that_the_relay_took(shared: House) -> None:
    shared.answers["refused@cli.example"] = refused
    large = ("large.bin", bytes(range(256)) * 1024)  # beyond what travels in the letter itself
    receipt = shared.postroom.send_letter(
        ["raw@cli.example", "refused@cli.example"], "Grüße\n\x1b[2J", attachments=[large]
    )
    receipt.wait()
    environment: dict[str, str | None] = {**shared.environment}
    result = CliRunner().invoke(main, ["show", "--raw", receipt.id], env=environment)
    assert [result.stdout_bytes] == shared.octets(receipt)


def test_show_raw_says_that_the_content_of_a_sent_letter_is_gone(shared: House) -> None:
    receipt = shared.postroom.send_letter("all-sent@cli.example", "hi")
    receipt.wait()
    result = postroom(shared, "show", "--raw", receipt.id)
    assert result.exit_code == 1
    assert result.stderr == f"Error: the content of letter {receipt.id} is no longer kept: it was sent\n"


def test_stats_counts_the_letters_of_each_state(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, *_ = settled
    (found,) = objects(done(here, "stats", "--json"))
    assert found["states"] == counts(here.ledger)
    states = {state: number for state, number in found["states"].items() if number}
    assert states == {"sent": 1, "failed": 1, "deferred": 1}
    assert ["1", "failed"] in [line.split()[:2] for line in done(here, "stats").splitlines()]


def test_stats_tells_in_words_why_letters_wait_or_failed_and_for_whom(
    settled: tuple[House, Receipt, Receipt, Receipt],
) -> None:
    here, *_ = settled
    (found,) = objects(done(here, "stats", "--json"))
    assert {(each["state"], each["reason"], each["letters"]) for each in found["reasons"]} == {
        ("deferred", "451 4.7.1 Greylisted, please come back later", 1),
        ("deferred", "550 5.1.1 No such mailbox here", 1),
        ("failed", "550 5.1.1 No such mailbox here", 1),
    }
    assert found["codes"] == [{"code": "550 5.1.1", "recipients": 2}, {"code": "451 4.7.1", "recipients": 1}]
    assert found["domains"] == [{"domain": "example.com", "recipients": 3}]
    words = [line.split() for line in done(here, "stats").splitlines()]
    assert ["1", "deferred", "451", "4.7.1", "Greylisted,", "please", "come", "back", "later"] in words
    assert ["2", "550", "5.1.1"] in words
    (of_one,) = objects(done(here, "stats", "--json", "--state", "failed", "--recipient", "gone@example.com"))
    assert of_one["states"] == {"failed": 1}
    assert of_one["domains"] == [{"domain": "example.com", "recipients": 1}]


def test_stats_says_when_it_looked_at_a_sample_only(new_house: NewHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    here = new_house()
    for letter_id in ("a", "b", "c"):
        put(here, letter_id)
    monkeypatch.setattr("postroom.cli.stats._SAMPLE", 2)
    assert "2 of 3 failed letters looked at; --all: all" in done(here, "stats")
    assert "looked at" not in done(here, "stats", "--all")
    (found,) = objects(done(here, "stats", "--json"))
    assert (found["states"]["failed"], found["looked_at"]) == (3, 2)


def test_the_shape_of_what_waits_is_domains_by_age(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, *_ = settled
    (found,) = objects(done(here, "stats", "--shape", "--json"))
    assert found["domains"] == [{"domain": "example.com", "recipients": 2, "by_age": [2, *[0] * 9]}]
    head, total, domain = (line.split() for line in done(here, "stats", "--shape").splitlines())
    assert head[:4] == ["DOMAIN", "ALL", "5", "10"]
    assert total[:4] == ["all", "2", "2", "·"]
    assert domain[:4] == ["example.com", "2", "2", "·"]


def test_a_letter_to_a_suspended_domain_is_told_of_it_however_the_domain_is_written(new_house: NewHouse) -> None:
    here = new_house()
    receipt = here.postroom.send_letter("jörg@bücher.example", "hi")
    (touched,) = objects(done(here, "suspend", "--domain", "bücher.example", "--dry-run", "--json"))
    assert touched["letters"] == 1
    done(here, "suspend", "--domain", "xn--bcher-kva.example", "--yes")
    (found,) = objects(done(here, "explain", "--json", receipt.id))
    assert "domain xn--bcher-kva.example is suspended" in found["suspended"]


def test_explain_tells_what_a_letter_waits_for(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, sent, failed, deferred = settled
    (found,) = objects(done(here, "explain", "--json", deferred.id))
    assert found["why"] == "451 4.7.1 Greylisted, please come back later"
    assert re.fullmatch(r"its next attempt, .*, in \d+[mh]", found["waits for"])
    assert found["at last"].endswith(("in 1d", "in 2d"))
    assert "it is kept until it is retried or purged" in done(here, "explain", failed.id)
    assert "its account is forgotten" in done(here, "explain", sent.id)
    assert postroom(here, "explain", "nosuch").exit_code == 1


def test_watch_looks_again_and_again(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, _, _, deferred = settled
    first, second = objects(done(here, "watch", "--json", "--times", "2", "--interval", "0.1"))
    assert second["at_ms"] - first["at_ms"] >= 100
    assert second["states"] == counts(here.ledger)
    assert second["events"][-1]["letter_id"] == deferred.id
    lines = done(here, "watch", "--times", "1").splitlines()
    assert ["1", "deferred"] in [line.split()[:2] for line in lines]
    assert "none is here" in lines[1]
    assert "deferred 451 4.7.1 Greylisted" in lines[-1]


def test_text_from_outside_is_shown_as_data(new_house: NewHouse) -> None:
    here = new_house()
    put(here, "hostile", subject=HOSTILE)
    for arguments in (["list"], ["list", "--json"], ["show", "hostile"], ["show", "--json", "hostile"], ["stats"]):
        printed = done(here, *arguments)
        assert all(char.isprintable() or char == "\n" for char in printed)
        assert "[bold]x[/foo]" in printed
    (shown,) = objects(done(here, "show", "--json", "hostile"))
    assert shown["subject"] == HOSTILE


# --- acting ---------------------------------------------------------------------------------------------------------


def test_retry_goes_to_those_who_did_not_get_it_and_is_written_down(shared: House) -> None:
    shared.answers["moved@cli.example"] = refused
    receipt = shared.postroom.send_letter(["has-it@cli.example", "moved@cli.example"], "hi")
    receipt.wait()
    del shared.answers["moved@cli.example"]
    assert done(shared, "retry", receipt.id, "--reason", "the mailbox is back") == "1 letter retried\n"
    shared.wait_for(receipt, LetterState.SENT)
    assert shared.accepted(receipt) == {"has-it@cli.example": 1, "moved@cli.example": 1}
    retried = account(shared.ledger, receipt.id).history[2]
    assert (retried["event"], retried["why"]) == ("retried", "the mailbox is back")
    assert re.fullmatch(r".+@.+", retried["by"])


def test_retry_of_a_state_takes_all_its_letters_and_no_other(new_house: NewHouse) -> None:
    here = new_house()
    here.answers["gone@example.com"] = refused
    here.worker()
    failed = [here.postroom.send_letter("gone@example.com", "hi") for _ in range(3)]
    sent = here.postroom.send_letter("ann@example.com", "hi")
    partial = here.postroom.send_letter(["ann@example.com", "gone@example.com"], "hi")
    for receipt in (*failed, sent, partial):
        receipt.wait()
    here.answers.clear()
    result = postroom(here, "retry", "--state", "failed", "--yes")
    assert result.stderr == "3 failed letters will be sent again, now, to those who did not get them\n"
    assert result.stdout == "3 letters retried\n"
    for receipt in failed:
        here.wait_for(receipt, LetterState.SENT)
        assert here.accepted(receipt) == {"gone@example.com": 1}
    assert state(partial) is LetterState.PARTIAL
    assert here.accepted(sent) == {"ann@example.com": 1}


def test_without_a_terminal_to_ask_on_many_letters_are_touched_only_with_yes(
    settled: tuple[House, Receipt, Receipt, Receipt],
) -> None:
    here, _, failed, deferred = settled
    for arguments in (["retry", "--state", "failed"], ["flush"], ["purge", failed.id]):
        result = postroom(here, *arguments)
        assert result.exit_code == 2
        assert "--yes" in result.stderr
    assert (state(failed), state(deferred)) == (LetterState.FAILED, LetterState.DEFERRED)


def test_in_a_terminal_it_asks_and_does_as_it_is_told(new_house: NewHouse) -> None:
    here = new_house()
    receipt = here.postroom.send_letter("ann@example.com", "hi")
    status, shown = in_a_terminal(here, "hold", "--state", "queued", answer="n\n")
    assert "1 queued letter will be held until somebody releases them" in shown
    assert status == 1
    assert state(receipt) is LetterState.QUEUED
    status, shown = in_a_terminal(here, "hold", "--state", "queued", answer="y\n")
    assert status == 0
    assert "1 letter held" in shown
    assert state(receipt) is LetterState.HELD


def test_a_dry_run_tells_and_touches_nothing(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, sent, failed, deferred = settled
    printed = done(here, "retry", "--state", "failed", "--state", "deferred", "--dry-run")
    assert printed.startswith("2 letters would be sent again, now, to those who did not get them\n")
    assert failed.id in printed
    assert deferred.id in printed
    result = postroom(here, "retry", "--dry-run", "--json", failed.id, sent.id)
    assert [each["id"] for each in objects(result.stdout)] == [failed.id]
    assert result.stderr == f"Error: letter {sent.id} is sent: it would stay as it is\n"
    assert result.exit_code == 1
    assert (state(failed), state(deferred)) == (LetterState.FAILED, LetterState.DEFERRED)


def test_what_cannot_be_done_to_one_letter_is_told_and_done_to_the_others(
    settled: tuple[House, Receipt, Receipt, Receipt],
) -> None:
    here, sent, _, deferred = settled
    result = postroom(here, "cancel", sent.id, "nosuch", deferred.id)
    assert result.exit_code == 1
    assert result.stdout == "1 letter cancelled\n"
    assert result.stderr == (
        f"Error: letter {sent.id} is sent: it is too late to cancel it\n"
        "there is no letter nosuch in the ledger: it never was, or was forgotten\n"
    )
    assert state(deferred) is LetterState.CANCELLED
    found = objects(postroom(here, "cancel", "--json", "nosuch").stdout)
    assert [(each["id"], each["done"]) for each in found] == [("nosuch", False)]


def test_flush_tries_at_once_what_is_deferred_and_only_for_those_who_wait(
    settled: tuple[House, Receipt, Receipt, Receipt],
) -> None:
    here, _, failed, deferred = settled
    named = here.relay.named["gone@example.com"]
    assert done(here, "flush", "--yes") == "1 letter on the way\n"
    here.worker("second")
    here.wait_for(deferred, LetterState.PARTIAL)
    assert here.accepted(deferred) == {"grey@example.com": 1}
    assert here.relay.named["gone@example.com"] == named
    assert here.events(deferred) == ["queued", "attempt", "flushed", "attempt"]
    assert state(failed) is LetterState.FAILED


def test_a_letter_that_was_held_and_released_goes_out(new_house: NewHouse) -> None:
    here = new_house()
    receipt = here.postroom.send_letter("ann@example.com", "hi")
    assert done(here, "hold", receipt.id, "--reason", "wait for the lawyers") == "1 letter held\n"
    here.worker()
    (held,) = objects(done(here, "list", "--state", "held", "--json"))
    assert (held["id"], held["reason"]) == (receipt.id, "wait for the lawyers")
    wait_until(lambda: here.bells_waiting() == 0, "the worker heard its bell, and left it alone")
    assert state(receipt) is LetterState.HELD
    assert done(here, "release", "--yes") == "1 letter released\n"
    here.wait_for(receipt, LetterState.SENT)
    assert here.events(receipt) == ["queued", "held", "released", "attempt"]


def test_a_letter_that_was_held_before_its_time_waits_for_it_when_it_is_released(new_house: NewHouse) -> None:
    here = new_house()
    receipt = here.postroom.send_letter("ann@example.com", "hi", send_at=LATER_MS)
    done(here, "hold", receipt.id)
    done(here, "release", receipt.id)
    status = receipt.status()
    assert status.state is LetterState.SCHEDULED
    assert status.next_attempt_at == pytest.approx(LATER_MS / 1000, abs=60)
    assert here.ledger.now_ms() + begins_in_ms(here.ledger, receipt.id) == pytest.approx(LATER_MS, abs=60_000)


def test_purge_leaves_nothing_of_a_letter(settled: tuple[House, Receipt, Receipt, Receipt]) -> None:
    here, sent, failed, _ = settled
    large = here.postroom.send_letter("ann@example.com", "hi", attachments=[("large.bin", b"x" * 100_000)])
    large.cancel()
    assert done(here, "purge", "--state", "failed", "--state", "cancelled", "--yes") == "2 letters purged\n"
    assert postroom(here, "show", failed.id).exit_code == 1
    for trace in (large.id, failed.id, "contents"):
        assert all_keys(here.ledger.redis, f"*{trace}*") == []
    assert postroom(here, "purge", sent.id, "--yes").exit_code == 1
    assert state(sent) is LetterState.SENT


def test_expire_gives_letters_up_at_once_and_retry_sends_them_after_all(
    settled: tuple[House, Receipt, Receipt, Receipt],
) -> None:
    here, _, _, deferred = settled
    assert done(here, "expire", deferred.id, "--reason", "the offer is over") == "1 letter given up\n"
    status = deferred.status()
    assert status.state is LetterState.FAILED
    assert status.reason == "the offer is over"
    given_up = status.recipients["grey@example.com"]
    assert (given_up.state, given_up.reply) == ("expired", "451 4.7.1 Greylisted, please come back later")
    assert "given up by" in done(here, "show", deferred.id)
    assert postroom(here, "expire", deferred.id).exit_code == 1
    done(here, "retry", deferred.id)
    assert state(deferred) is LetterState.QUEUED


def test_every_act_is_in_the_audit_list_with_who_why_and_how_many_even_of_letters_that_are_gone(
    settled: tuple[House, Receipt, Receipt, Receipt],
) -> None:
    here, sent, _, deferred = settled
    done(here, "hold", deferred.id, "--reason", "lawyers \x1b[2J")
    postroom(here, "cancel", sent.id, deferred.id)
    done(here, "purge", "--state", "failed", "--yes", "--reason", "asked to")
    done(here, "retry", "--state", "cancelled", "--dry-run")
    purge, cancel, hold = objects(done(here, "audit", "--json"))
    assert (purge["entry"]["act"], purge["entry"]["why"], purge["entry"]["number"]) == ("purge", "asked to", 1)
    assert purge["entry"]["letters"] == "failed letters"
    assert re.fullmatch(r".+@.+", purge["entry"]["by"])
    assert (cancel["end"]["done"], cancel["end"]["failed"]) == (1, 1)
    assert cancel["entry"]["letters"] == f"{sent.id} {deferred.id}"
    assert hold["at_ms"] <= cancel["at_ms"] <= purge["at_ms"] <= here.ledger.now_ms()
    lines = done(here, "audit", "--limit", "2").splitlines()
    assert lines[1].split()[3:6] == ["purge", "1", "failed"]
    assert "1 of 2" in lines[2]
    assert "lawyers \\x1b[2J" in done(here, "audit")


def test_an_act_that_was_killed_stands_in_the_audit_list_as_unfinished(new_house: NewHouse) -> None:
    here = new_house()
    assert postroom(here, "audit").stderr == "nobody has acted on letters yet\n"
    audit.begin(here.ledger, audit.Entry(act="retry", by="ann@desk", why="", letters="failed letters", number=9))
    assert "9, unfinished" in done(here, "audit")


def test_the_audit_list_is_capped_and_an_entry_whose_answer_was_lost_is_there_once(
    new_house: NewHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = new_house()
    monkeypatch.setattr(audit, "KEPT", 3)
    entries = [audit.Entry(act="hold", by="", why="", letters=str(number), number=1) for number in range(4)]
    monkeypatch.setattr(type(here.ledger), "now_ms", lambda _: 7)
    for entry in entries:
        audit.begin(here.ledger, entry)
        audit.begin(here.ledger, entry)
    assert len(list(audit.latest(here.ledger))) == 3


def test_of_many_letters_none_is_missed_while_others_come_and_go(new_house: NewHouse) -> None:
    here = new_house()
    here.worker()
    receipts = [here.postroom.send_letter(f"u{number}@example.com", "hi") for number in range(700)]
    found = objects(postroom(here, "cancel", "--state", "queued", "--yes", "--json").stdout)
    wait_until(lambda: all(state(each).is_settled for each in receipts), "nothing is on its way")
    states = {each.id: state(each) for each in receipts}
    assert set(states.values()) <= {LetterState.SENT, LetterState.CANCELLED}
    cancelled = {each["id"] for each in found if each["done"]}
    assert cancelled == {letter_id for letter_id, its in states.items() if its is LetterState.CANCELLED}
    assert all("too late" in each["why"] or "no longer queued" in each["why"] for each in found if not each["done"])
    assert all(here.accepted(each) == {} for each in receipts if each.id in cancelled)


def test_a_reason_that_no_utf8_can_hold_is_written_down_as_escapes(new_house: NewHouse) -> None:
    here = new_house()
    put(here, "x")
    done(here, "retry", "x", "--reason", "pasted \udcff\x1b[2J")  # what Python makes of an octet that is no UTF-8
    assert account(here.ledger, "x").history[1]["why"] == r"pasted \udcff\x1b[2J"


def test_without_a_broker_letters_are_retried_all_the_same_and_it_is_tried_once(
    new_house: NewHouse, caplog: pytest.LogCaptureFixture
) -> None:
    here = new_house(POSTROOM_BROKER_URL="redis://127.0.0.1:1/0")
    for letter_id in ("a", "b", "c"):
        put(here, letter_id)
    assert done(here, "retry", "--state", "failed", "--yes") == "3 letters retried\n"
    assert counts(here.ledger)[LetterState.QUEUED] == 3
    assert len([record for record in caplog.records if "broker is away" in record.message]) == 1


# --- sending --------------------------------------------------------------------------------------------------------


def test_send_prints_the_id_of_a_letter_made_of_flags(shared: House, tmp_path: Path) -> None:
    (tmp_path / "body.html").write_text("<p>Grüße</p>", "utf-8")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    arguments = ["--to", "Ann <ann@cli.example>", "--cc", "cc@cli.example", "--bcc", "bcc@cli.example", "-s", "report"]
    arguments += ["--from", "eve@example.org", "--html", str(tmp_path / "body.html")]
    arguments += ["-a", str(tmp_path / "report.pdf"), "-a", str(tmp_path / "body.html")]
    receipt = shared.postroom.receipt(done(shared, "send", "in words", *arguments).strip())
    assert receipt.wait().state is LetterState.SENT
    assert list(receipt.status().recipients) == ["ann@cli.example", "cc@cli.example", "bcc@cli.example"]
    (octets,) = shared.octets(receipt)
    assert b"From: eve@example.org\r\nTo: Ann <ann@cli.example>\r\nCc: cc@cli.example\r\nSubject: report\r\n" in octets
    assert b"bcc@" not in octets
    assert re.findall(rb"filename=\"?([\w.]+)", octets) == [b"report.pdf", b"body.html"]


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_send_reads_the_text_from_stdin(shared: House, arguments: list[str]) -> None:
    printed = done(shared, "send", *arguments, "--to", "stdin@cli.example", "--json", stdin="Grüße\n".encode())
    receipt = shared.postroom.receipt(objects(printed)[0]["id"])
    receipt.wait()
    (octets,) = shared.octets(receipt)
    assert message_from_bytes(octets).get_payload(decode=True) == "Grüße\r\n".encode()


def test_send_takes_a_message_that_is_ready_from_a_file_or_from_stdin(new_house: NewHouse, tmp_path: Path) -> None:
    here = new_house()
    fields = ["From: eve@example.org", "To: ann@example.com, ben@example.com", "X-Own: yes"]
    raw = "\n".join([*fields, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "", "hi\n"]).encode()
    (tmp_path / "ready.eml").write_bytes(raw)
    from_file = done(here, "send", "--eml", str(tmp_path / "ready.eml")).strip()
    from_stdin = done(here, "send", "--eml", "-", "--to", "zoe@example.com", "--tag", "ready", stdin=raw).strip()
    first, second = (here.postroom.receipt(each).status() for each in (from_file, from_stdin))
    assert list(first.recipients) == ["ann@example.com", "ben@example.com"]
    assert (list(second.recipients), second.tags, second.subject) == (["zoe@example.com"], ("ready",), "Grüße")
    assert (
        b"X-Own: yes\r\n"
        in CliRunner().invoke(main, ["show", "--raw", from_file], env={**here.environment}).stdout_bytes
    )
    result = postroom(here, "send", "--eml", "-", "--subject", "other", "--reply-to", "x@y.z", stdin=raw)
    assert result.exit_code == 2
    assert "leave out reply-to, subject" in result.stderr


def test_send_takes_when_and_how_a_letter_is_to_be_sent(new_house: NewHouse) -> None:
    here = new_house()
    arguments = ["--to", "ann@example.com", "--at", "2h", "--expires-in", "10m", "--tag", "a", "--tag", "b"]
    arguments += ["--reply-to", "help@example.org", "--header", "X-Own: a: b", "--envelope-from", "<>"]
    arguments += ["--priority", "bulk", "--on-uncertain", "hold"]
    letter_id = done(here, "send", "hi", *arguments).strip()
    status = here.postroom.receipt(letter_id).status()
    assert (status.state, status.tags) == ("scheduled", ("a", "b"))
    assert status.next_attempt_at == pytest.approx(here.ledger.now_ms() / 1000 + 7200, abs=30)
    about = circumstances(here.ledger, letter_id)
    assert (about.queue, about.on_uncertain) == ("postroom.bulk", "hold")
    assert about.expires_ms - about.due_ms == pytest.approx(600_000, abs=1000)
    raw = done(here, "show", "--raw", letter_id)
    assert "Reply-To: help@example.org" in raw
    assert "X-Own: a: b" in raw
    once = ["send", "hi", "--to", "ann@example.com", "--idempotency-key", "k2"]
    assert done(here, *once) == done(here, *once)
    assert postroom(here, "send", "hi", "--to", "a@b.c", "--header", "no colon").exit_code == 2


def test_send_and_wait_tells_what_became_of_the_letter(shared: House) -> None:
    shared.answers["unknown@cli.example"] = refused
    printed = done(shared, "send", "hi", "--to", "known@cli.example", "--wait")
    assert printed.splitlines()[-1].split()[:3] == ["known@cli.example", "accepted", "1"]
    result = postroom(shared, "send", "hi", "--to", "unknown@cli.example", "--wait")
    letter_id = result.stdout.splitlines()[0]
    assert result.exit_code == 1
    assert result.stderr == f"Error: letter {letter_id} is failed: 550 5.1.1 No such mailbox here\n"


def test_send_waits_no_longer_than_it_is_told(new_house: NewHouse) -> None:
    result = postroom(new_house(), "send", "hi", "--to", "ann@example.com", "--wait", "--timeout", "0", "--json")
    assert result.exit_code == 1
    assert objects(result.stdout)[0]["state"] == "queued"
    assert "after 0 s still queued" in result.stderr


def test_a_letter_that_cannot_be_sent_is_refused_with_every_problem(new_house: NewHouse) -> None:
    here = new_house()
    result = postroom(here, "send", "hi", "--to", "no address", "--subject", "two\nlines", stdin="")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: to")
    assert "subject" in result.stderr
    assert not any(counts(here.ledger).values())
