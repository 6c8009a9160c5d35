"""Redis is there and refuses: a replica, one without its primary, loading, busy, full, its disk full, without a free
connection, with another password.

Producers are told so at once, in one kind of error. The worker lives; what it has in hand is recorded as soon as Redis
lets it, and nothing is delivered twice for it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from house import House, house
from postroom import LedgerUnavailable, LetterState
from postroom_worker.dev.fleet import Worker
from postroom_worker.dev.scripted_relay import ScriptedRelay, Session, say, scripted_relay, wait_for
from postroom_worker.dev.server import Server, free_port, program, wait_until

_MANY = 200_000
EVERYTHING = "CHAOS_LETTERS" in os.environ


@dataclass(slots=True)
class Stage:
    """A server that can be made to refuse, and a worker whose relay answers when it is told."""

    server: Server
    redis: Redis
    here: House
    relay: ScriptedRelay
    worker: Worker
    gates: dict[str, Event] = field(default_factory=dict)
    """What the relay waits for before it takes a letter, by recipient."""

    def take(self, session: Session) -> None:
        """Take a letter, once its gate is open."""
        for recipient in session.recipients:
            if recipient in self.gates:
                wait_for(self.gates[recipient])(session)
        say("250 2.0.0 taken")(session)


def dying_of_nothing(folder: Path) -> Server:
    """A server that lives on when a file of its becomes too large: Python lets its children die of that."""
    folder.mkdir()
    port = free_port()
    options: tuple[str, ...] = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", str(folder))
    options += ("--enable-debug-command", "yes")
    process = subprocess.Popen(
        [program(), "--port", str(port), "--bind", "127.0.0.1", *options],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    return Server(folder, port, (), process)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All of it, for all refusals: each is over when the next begins."""
    folder = tmp_path_factory.mktemp("refusing")
    with ExitStack() as running:
        redis_server = dying_of_nothing(folder / "redis")
        running.callback(lambda: redis_server.kill())
        redis = running.enter_context(Redis(port=redis_server.port, retry=Retry(NoBackoff(), 0)))
        wait_until(lambda: not _refuses(redis, "onnect"), "the server answers")
        taking: list[Callable[[Session], None]] = []
        relay = running.enter_context(scripted_relay({"content": lambda session: taking[0](session)}))
        here = running.enter_context(house(folder, redis_server.url, POSTROOM_RELAY_URL=relay.url))
        made = Stage(redis_server, redis, here, relay, here.worker())
        taking.append(made.take)
        yield made


@contextmanager
def read_only(stage: Stage) -> Iterator[None]:
    """A failover has made it a replica, and the connections to it are kept."""
    stage.redis.replicaof("127.0.0.1", 1)
    yield
    stage.redis.replicaof("NO", "ONE")


@contextmanager
def without_primary(stage: Stage) -> Iterator[None]:
    """It is a replica that has lost its primary, and answers nothing that may be out of date."""
    stage.redis.config_set("replica-serve-stale-data", "no")
    stage.redis.replicaof("127.0.0.1", 1)
    yield
    stage.redis.replicaof("NO", "ONE")


@contextmanager
def loading(stage: Stage) -> Iterator[None]:
    """It reads its file anew, as it does when it starts; it answers after each thousand entries."""
    stage.redis.eval(f"for _ = 1, {_MANY} do redis.call('INCR', 'filling') end", 0)
    stage.redis.config_set("key-load-delay", 50)
    with Redis(port=stage.server.port, socket_timeout=60) as other:
        thread = Thread(target=other.execute_command, args=("DEBUG", "LOADAOF"))
        thread.start()
        wait_until(lambda: _refuses(stage.redis, "loading"), "it loads")
        yield
        stage.redis.config_set("key-load-delay", 0)
        thread.join()


@contextmanager
def busy(stage: Stage) -> Iterator[None]:
    """Somebody else's script does not end."""

    def run(redis: Redis) -> None:
        with suppress(RedisError):
            redis.eval("while true do end", 0)

    stage.redis.config_set("busy-reply-threshold", 50)
    with Redis(port=stage.server.port) as other:
        thread = Thread(target=run, args=(other,))
        thread.start()
        wait_until(lambda: _refuses(stage.redis, "BUSY"), "it is busy")
        yield
        stage.redis.script_kill()
        thread.join()


@contextmanager
def no_free_connection(stage: Stage) -> Iterator[None]:
    """All of its connections are taken, ours were cut."""
    stage.redis.config_set("maxclients", 1)
    stage.redis.client_kill_filter(_type="normal", skipme=True)
    yield
    stage.redis.config_set("maxclients", 1000)


@contextmanager
def another_password(stage: Stage) -> Iterator[None]:
    """Its password was changed, and ours were cut."""
    stage.redis.config_set("requirepass", "secret")
    stage.redis.client_kill_filter(_type="normal", skipme=True)
    yield
    stage.redis.config_set("requirepass", "")


@contextmanager
def disk_full(stage: Stage) -> Iterator[None]:
    """What it wrote last was too much for its disk."""
    # With `always` it would end itself: it cannot take back what it has told.
    stage.redis.config_set("appendfsync", "everysec")
    _, hard = resource.prlimit(stage.server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stage.server.process.pid, resource.RLIMIT_FSIZE, (1, hard))
    with suppress(RedisError):
        stage.redis.set("filling", 0)
    wait_until(lambda: _refuses_to_write(stage.redis), "its disk is full")
    yield
    resource.prlimit(stage.server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    wait_until(lambda: not _refuses_to_write(stage.redis), "its disk has room")
    stage.redis.config_set("appendfsync", "always")


@contextmanager
def full(stage: Stage) -> Iterator[None]:
    """Its memory is full, of the queue and the ledger alike."""
    stage.redis.config_set("maxmemory", 1)
    yield
    stage.redis.config_set("maxmemory", 0)


def _refuses_to_write(redis: Redis) -> bool:
    try:
        redis.incr("filling")
    except RedisError as error:
        return "MISCONF" in str(error)
    return False


def _refuses(redis: Redis, why: str) -> bool:
    try:
        redis.get("any")
    except RedisError as error:
        return why in str(error)
    return False


Refusal = Callable[[Stage], AbstractContextManager[None]]
REFUSALS: dict[str, tuple[Refusal, str]] = {
    "read-only": (read_only, "Redis is a replica, and takes no writes"),
    "without its primary": (without_primary, "Redis is a replica that has lost its primary"),
    "busy": (busy, "Redis is busy with a script"),
    "another password": (another_password, "Redis refuses our user or password: see POSTROOM_REDIS_URL"),
    "full": (full, "Redis is full: raise its maxmemory"),
    "disk full": (disk_full, "Redis cannot write to its disk: see its own log"),
}
SLOW: dict[str, tuple[Refusal, str]] = {
    "loading": (loading, "Redis is still loading its data"),
    "no free connection": (no_free_connection, "Redis takes no more connections: raise its maxclients"),
}
if EVERYTHING:
    REFUSALS |= SLOW


@pytest.mark.parametrize(("refusal", "words"), REFUSALS.values(), ids=REFUSALS)
def test_producers_are_told_and_the_worker_lives_and_loses_nothing(refusal: Refusal, words: str, stage: Stage) -> None:
    here, log = stage.here, stage.worker.log
    name = refusal.__name__
    gate = stage.gates[f"{name}-in-hand@example.com"] = Event()
    in_hand = here.postroom.send_letter(f"{name}-in-hand@example.com", "hi")
    wait_until(lambda: any(session.is_waiting for session in stage.relay.sessions), "the relay has the content")
    due = here.postroom.send_letter(f"{name}-due@example.com", "hi", send_at=here.ledger.now_ms() + 300)
    missed = log.read_text().count("trying again in")
    with refusal(stage):
        with pytest.raises(LedgerUnavailable, match=words) as caught:
            here.postroom.send_letter(f"{name}-refused@example.com", "hi")
        assert caught.value.letter_id
        gate.set()
        if refusal is full:
            wait_until(lambda: in_hand.status().state is LetterState.SENT, "outcomes are recorded all the same")
        else:
            wait_until(lambda: log.read_text().count("trying again in") > missed, "the outcome cannot be recorded")
    assert (in_hand.wait().state, due.wait().state) == (LetterState.SENT, LetterState.SENT)
    assert "uncertain" not in here.events(in_hand)
    assert stage.worker.process.poll() is None
    ours = Counter({each: times for each, times in stage.relay.accepted.items() if each.startswith(name)})
    assert ours == {f"{name}-in-hand@example.com": 1, f"{name}-due@example.com": 1}
