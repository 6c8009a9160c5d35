"""No hot loop, of SMTP or of Redis: a worker and many letters, and relays that refuse all, say 421, and are down."""

from __future__ import annotations

from pathlib import Path

from house import House, NewHouse
from postroom import Letter, LetterState, clock
from postroom.ledger import views
from postroom_worker.dev.scripted_relay import both, close, say, scripted_relay
from postroom_worker.dev.server import wait_until

RELAYS, LETTERS = ("refuses", "busy", "down"), 10
WAIT_S, WHILE_S = 1.0, 3.0
IDLE_A_SECOND, A_LETTER = 900, 50
"""Commands of Redis, those inside scripts too: of an idle worker that looks at the schedule as often as tests have it,
and of a letter that is put off again; twice what was counted. A loop without a pause does thousands more."""


def commands(here: House) -> int:
    """How many commands Redis has done, of anybody."""
    return sum(int(each["calls"]) for each in here.ledger.redis.info("commandstats").values())


def test_while_letters_wait_for_relays_that_serve_nobody_what_is_said_has_a_bound(
    new_house: NewHouse, tmp_path: Path
) -> None:
    refusing, talking = {"mail": say("554 5.7.1 relaying denied")}, {"connect": both(say("421 4.3.2 bye"), close)}
    with scripted_relay(refusing) as refuses, scripted_relay(talking) as busy:
        urls = dict(zip(RELAYS, (refuses.url, busy.url, "smtp://127.0.0.1:1"), strict=True))
        path = tmp_path / "relays.toml"
        path.write_text("".join(f'[relays.{name}]\nurl = "{url}"\n' for name, url in urls.items()))
        waits = ("RETRY_FIRST_S", "RETRY_MAX_S", "PAUSE_FIRST_S", "PAUSE_MAX_S")
        settings = {f"POSTROOM_{each}": str(WAIT_S) for each in waits}
        here = new_house(POSTROOM_RELAYS=str(path), POSTROOM_REFUSALS_MAX="3", **settings)
        make = here.postroom.settings
        receipts = []
        for name in RELAYS:
            to = [f"{name}-{number}@example.com" for number in range(LETTERS)]
            receipts += here.postroom.send_letters([Letter(each, "hi", relay=name, settings=make) for each in to])
        here.worker()
        wait_until(lambda: all(here.events(each) != ["queued"] for each in receipts), "all were tried")
        began_s = clock.steady_s()
        before = commands(here), len(refuses.verbs), len(busy.sessions)

        def is_over() -> bool:
            are_tried = len(refuses.verbs) > before[1] and len(busy.sessions) > before[2]
            return are_tried and clock.steady_s() - began_s > WHILE_S

        wait_until(is_over, "a while is over, and both were tried again")
        asked, said = commands(here) - before[0], len(refuses.verbs) - before[1]
        greeted = len(busy.sessions) - before[2]
        passed_s, waiting = clock.steady_s() - began_s, len(RELAYS) * LETTERS
        times = 1 + passed_s / WAIT_S  # how often a wait can have been over
        assert asked <= IDLE_A_SECOND * passed_s + A_LETTER * times * waiting
        assert said <= 8 * times, "one letter probes it in each pause: EHLO, MAIL, RCPT, DATA and what ends that"
        assert greeted <= times
        assert {state for state, number in views.counts(here.ledger).items() if number} <= {
            LetterState.DEFERRED,
            LetterState.QUEUED,
            LetterState.SENDING,
            LetterState.FAILED,
        }
