"""The notifier of every worker: makes webhooks of events, and posts those that are due.

It works in threads of the worker's main process, which delivers no letter: a receiver that is slow, or away, holds up
nobody's mail. What it does can end anywhere, by a kill too: the stream's group, and the schedule, have it done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import groupby
from threading import Event as Flag
from threading import Thread
from typing import Any

import msgspec
from celery import bootsteps

from postroom import clock
from postroom.errors import InvalidSettings, LedgerUnavailable
from postroom.finding import Finding, bad, ok, warn
from postroom.ledger import Ledger, open_ledger, webhooks
from postroom.ledger.views import present
from postroom.ledger.webhooks import Webhook
from postroom.reply import printable
from postroom.settings import Settings, process_settings
from postroom_worker import chance
from postroom_worker.backoff import Backoff
from postroom_worker.webhook import notice
from postroom_worker.webhook.receiver import Receiver

log = logging.getLogger("postroom")

_READ_AT_ONCE = 500
_READ_EVERY_S = 0.2
"""The stream is capped: who reads seldom may miss what made room."""
_IDLE_MS = 60_000
_MANY = 1000
"""More wait than a receiver that takes them leaves waiting."""
_POSTERS = 4
"""Webhooks that one worker posts at once."""


class Notifier:
    """Makes and posts the webhooks of one ledger for one receiver. Safe to share between threads."""

    def __init__(self, settings: Settings, ledger: Ledger, receiver: Receiver, member: str) -> None:
        """Notify.

        Args:
            settings: for waits.
            ledger: where the events are, and the webhooks that wait.
            receiver: gets them.
            member: this worker's name in the group that reads the events.
        """
        self._ledger = ledger
        self._receiver = receiver
        self._place = receiver.place
        self._member = member
        self._backoff = Backoff.of_letters(settings)
        self._give_up_ms = int(1000 * settings.give_up_s)
        # One of each partition is taken at once, and they are posted one after the other.
        each_s = 2 * settings.webhook_timeout_s + settings.redis_timeout_s
        self._lease_ms = int(1000 * each_s * ledger.keys.partitions)
        self._look_s = settings.timer_s

    def begin(self) -> None:
        """Miss nothing from now on.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        webhooks.begin(self._ledger, self._place)

    def make(self, idle_ms: int = _IDLE_MS) -> bool:
        """Make webhooks of what has happened; True when there may be more.

        Args:
            idle_ms: after how long what another worker has read is ours.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        entries = webhooks.read(self._ledger, self._member, _READ_AT_ONCE, idle_ms, self._place)
        for partition, own in groupby(entries, key=lambda each: each.partition):
            some = list(own)
            wanted = [each for each in some if notice.can_tell(each.event)]
            statuses = present(self._ledger, list({each.event.letter_id for each in wanted})) if wanted else {}
            made = []
            for each in wanted:
                body = notice.body(each.event, statuses.get(each.event.letter_id), self._receiver.states)
                if body:
                    # An entry may tell of several letters.
                    webhook_id = f"{each.id}_{each.event.letter_id}"
                    at_ms = int(each.event.event["at_ms"])
                    made.append(
                        Webhook(id=webhook_id, partition=partition, made_ms=at_ms, body=body, place=self._place)
                    )
            lost = webhooks.keep(self._ledger, partition, made, [each.id for each in some], self._place)
            if lost:
                where, there = self._receiver.host, webhooks.KEPT
                log.error("%d webhooks are not posted: %d wait for %s already", lost, there, where)
        is_full = len(entries) >= _READ_AT_ONCE
        if is_full and webhooks.unread(self._ledger, self._place) + _READ_AT_ONCE >= self._ledger.times.events_max:
            log.error("events may have made room in their stream before they were read: raise POSTROOM_EVENTS_MAX")
        return is_full

    def post(self) -> bool:
        """Post a webhook that is due; False when there is none.

        Raises:
            LedgerUnavailable: Redis is away.
        """
        found = webhooks.take(self._ledger, self._lease_ms, 1, self._place)
        for each in found:
            self._post(each)
        return bool(found)

    def _post(self, webhook: Webhook) -> None:
        why = printable(self._receiver.post(webhook, clock.wall_ms() // 1000))
        if not why:
            webhooks.done(self._ledger, webhook)
            return
        again = msgspec.structs.replace(webhook, attempts=webhook.attempts + 1)
        wait_ms = self._backoff.wait_ms(again.attempts, chance.part())
        if self._ledger.now_ms() + wait_ms - webhook.made_ms > self._give_up_ms:
            log.error(
                "webhook %s for %s is given up, after %d attempts: %s",
                webhook.id,
                self._receiver.host,
                again.attempts,
                why,
            )
            webhooks.done(self._ledger, webhook)
            return
        log.warning(
            "webhook %s was not taken by %s (%s); again in %.1f s", webhook.id, self._receiver.host, why, wait_ms / 1000
        )
        webhooks.later(self._ledger, again, wait_ms)

    def start(self, stop: Flag) -> None:
        """Do all this in threads, until it is to stop."""
        self._begin(stop, "webhooks read", self._make_from_now_on(), _READ_EVERY_S)
        for number in range(_POSTERS):
            self._begin(stop, f"webhooks post {number}", self.post, self._look_s)

    def _make_from_now_on(self) -> Callable[[], bool]:
        has_begun = False

        def make() -> bool:
            nonlocal has_begun
            if not has_begun:
                self.begin()
                has_begun = True
            return self.make()

        return make

    @staticmethod
    def _begin(stop: Flag, name: str, step: Callable[[], bool], wait_s: float) -> None:
        def run() -> None:
            while not stop.is_set():
                try:
                    is_more = step()
                except LedgerUnavailable as error:
                    log.warning("webhooks wait: %s", error)
                    is_more = False
                except Exception:
                    log.exception("a fault while webhooks were made or posted; going on")
                    is_more = False
                if not is_more:
                    stop.wait(wait_s)

        Thread(target=run, name=name, daemon=True).start()


class Notify(bootsteps.StartStopStep):
    """A bootstep of the consumer: it starts anew whenever the connection to the broker does."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stop = Flag()
        # Once: a file of secrets that was spoilt since would end the worker.
        self._receivers = Receiver.all_of(process_settings())

    def start(self, parent: Any) -> None:
        """Begin, for each receiver that there is."""
        settings = process_settings()
        self._stop = Flag()
        for receiver in self._receivers:
            Notifier(settings, open_ledger(settings), receiver, parent.hostname).start(self._stop)

    def stop(self, parent: Any) -> None:
        """End; what is under way is done again, by another worker or after a start."""
        self._stop.set()


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield how webhooks stand: whether they can be posted, and how many wait."""
    try:
        receivers = Receiver.all_of(settings)
    except InvalidSettings as error:
        yield bad("webhooks", str(error), "until then no worker starts")
        return
    for receiver in receivers:
        try:
            number = webhooks.waiting(open_ledger(settings), receiver.place)
        except LedgerUnavailable:
            return  # which is told of the ledger
        if number > _MANY:
            yield warn("webhooks", f"{number:,} wait for {receiver.host}", "see the workers' logs for what it answers")
        else:
            yield ok("webhooks", f"they go to {receiver.host}")
