"""The pool: the sessions that one worker process keeps open, one letter at a time in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from postroom import clock
from postroom_worker.relay import Relay
from postroom_worker.smtp.session import Manner, Session

_FRESH_S = 1.0
"""A session used less than this ago is not asked whether it is alive."""


class Pool:
    """Lends sessions. Safe to share between threads; a child of fork() starts with none."""

    def __init__(self, manner: Manner, *, idle_s: float, letters: int) -> None:
        """Keep sessions.

        Args:
            manner: how to behave in them.
            idle_s: seconds after which an idle one is closed.
            letters: how many letters one serves.
        """
        self._manner = manner
        self._idle_s = idle_s
        self._letters = letters
        self._lock = Lock()
        self._idle: list[Session] = []
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def session(self, relay: Relay, *, fresh: bool = False) -> Iterator[Session]:
        """Lend a session with a relay: a kept one that is alive, or a new one.

        Args:
            relay: which.
            fresh: a new one in any case.

        Raises:
            SessionFailed: the relay cannot be reached, or does not let us in.
        """
        session = (None if fresh else self._kept(relay)) or Session(relay, self._manner)
        try:
            yield session
        finally:
            self._take_back(session)

    def _kept(self, relay: Relay) -> Session | None:
        while True:
            with self._lock:
                session = next((each for each in reversed(self._idle) if each.relay == relay), None)
                if session is None:
                    return None
                self._idle.remove(session)
            idle_s = clock.steady_s() - session.used_s
            if idle_s < self._idle_s and (session.is_alive() if idle_s > _FRESH_S else not session.has_leftover):
                return session
            session.quit()

    def _take_back(self, session: Session) -> None:
        if not session.is_usable:
            return
        if session.letters >= self._letters:
            session.quit()
            return
        session.used_s = clock.steady_s()
        with self._lock:
            self._idle.append(session)

    def close_idle(self) -> None:
        """Close what was not used for too long."""
        now_s = clock.steady_s()
        with self._lock:
            over = [each for each in self._idle if now_s - each.used_s >= self._idle_s]
            self._idle = [each for each in self._idle if each not in over]
        for session in over:
            session.quit()

    def close(self) -> None:
        """Say QUIT in every idle session."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.quit()

    def _forget(self) -> None:
        # The parent's sessions are the parent's: the child must neither use them nor say QUIT in them.
        self._lock = Lock()
        self._idle = []
