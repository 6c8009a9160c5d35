"""The pool: the sessions that one worker process keeps open, each lent to one lane at a time."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from postroom import clock
from postroom_worker.limits import Places, Wait
from postroom_worker.relay import Relay
from postroom_worker.smtp.dialogue import Dialogue
from postroom_worker.smtp.session import Manner, Session

_FRESH_S = 1.0
"""A session used less than this ago is not asked whether it is alive."""


class NoPlace(Exception):
    """The relay has as many sessions as it may, or as many began lately."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.why)
        self.wait = wait


class Pool:
    """Lends sessions. Safe to share between threads; a child of fork() starts with none."""

    def __init__(
        self,
        manner: Manner,
        places: Places,
        *,
        idle_s: float,
        letters: int,
        dialogue: Callable[[Relay, str], Dialogue | None] = lambda _relay, _session: None,
    ) -> None:
        """Keep sessions.

        Args:
            manner: how to behave in them.
            places: what the relays allow.
            idle_s: seconds after which an idle one is closed.
            letters: how many letters one serves.
            dialogue: returns what is to be told of a session, which it is given with its relay, if somebody traces it.
        """
        self._manner = manner
        self._places = places
        self._idle_s = idle_s
        self._letters = letters
        self._dialogue = dialogue
        self._lock = Lock()
        self._idle: list[Session] = []
        self._members: dict[Session, str] = {}
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def session(self, relay: Relay, *, fresh: bool = False) -> Iterator[Session]:
        """Lend a session with a relay: a kept one that is alive, or a new one.

        Args:
            relay: which.
            fresh: a new one in any case.

        Raises:
            SessionFailed: the relay cannot be reached, or does not let us in.
            OSError: this machine lacks what it takes.
            NoPlace: its limits do not allow another one now.
            LedgerUnavailable: Redis, which knows how many there are, is away.
        """
        session = (None if fresh else self._kept(relay)) or self._new(relay)
        try:
            yield session
        except BaseException:
            session.close()  # nobody knows where it stands
            raise
        finally:
            self._take_back(session)

    def member(self, session: Session) -> str:
        """Return the name under which a session has its places."""
        return self._members[session]

    def letters_left(self, session: Session) -> int:
        """Return how many further letters a session may serve: none when it served as many to one domain as it may."""
        relay = session.relay
        for domain, served in session.letters_to.items():
            if 0 < relay.limits_for(domain).letters_per_connection <= served:
                return 0
        return (relay.limits.letters_per_connection or self._letters) - session.letters

    def _new(self, relay: Relay) -> Session:
        member = secrets.token_hex(8)
        waits = self._places.enter(relay, member)
        if waits:
            raise NoPlace(waits[""])
        try:
            session = Session(relay, self._manner, self._dialogue(relay, member))
        except BaseException:
            self._places.leave(relay, member)
            raise
        self._members[session] = member
        return session

    def _kept(self, relay: Relay) -> Session | None:
        while True:
            with self._lock:
                session = next((each for each in reversed(self._idle) if each.relay == relay), None)
                if session is None:
                    return None
                self._idle.remove(session)
            session.dialogue = self._dialogue(relay, self._members[session])
            idle_s = clock.steady_s() - session.used_s
            if idle_s < self._idle_s and (session.is_alive() if idle_s > _FRESH_S else not session.has_leftover):
                return session
            self._end(session)

    def _take_back(self, session: Session) -> None:
        if not session.is_usable or self.letters_left(session) <= 0:
            self._end(session)
            return
        session.used_s = clock.steady_s()
        with self._lock:
            self._idle.append(session)

    def relays(self) -> set[Relay]:
        """Return the relays that there are idle sessions with."""
        with self._lock:
            return {each.relay for each in self._idle}

    def close_idle(self) -> None:
        """Close one that was not used for too long: many relays that say no goodbye must not hold up who calls this."""
        now_s = clock.steady_s()
        with self._lock:
            over = next((each for each in self._idle if now_s - each.used_s >= self._idle_s), None)
            if over is None:
                return
            self._idle.remove(over)
        self._end(over)

    def close(self, relay: Relay | None = None) -> None:
        """Say QUIT in every idle session, or in those with a relay."""
        with self._lock:
            over = [each for each in self._idle if relay in (None, each.relay)]
            self._idle = [each for each in self._idle if each not in over]
        for session in over:
            self._end(session)

    def _end(self, session: Session) -> None:
        session.quit()
        self._places.leave(session.relay, self._members.pop(session))

    def _forget(self) -> None:
        # The parent's sessions are the parent's: the child must neither use them nor say QUIT in them.
        self._lock = Lock()
        self._idle = []
        self._members = {}
