"""The rows: who sends, by which command lines, and when a letter counts as done. Adding one is adding a `Row` here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from redis import Redis

from environments import AIOSMTPLIB, CELERY, DJANGO_CELERY_EMAIL, NODE, OURS, POST_OFFICE, POSTFIX, Environment
from postroom import LetterState, Postroom, Settings
from postroom.ledger import views

Settled = Callable[[str, int], bool]
"""From the URL of Redis and a number of letters to whether the row has recorded that they are done."""

_WORKER = "worker --concurrency {} --loglevel WARNING"
CELERY_WORKER = _WORKER.format(2)
BULLMQ_WORKER = "node bullmq.cjs worker 16"
POSTROOM_WORKER = f"celery -A postroom_worker {CELERY_WORKER}"
SESSIONS = "POSTROOM_SESSIONS"
"""The setting of how many SMTP sessions a worker process uses at a time."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that do the same, and what they do."""

    title: str
    part: float = 1.0
    """Of the number of letters that was asked for."""
    delay_ms: float = 0
    """Each way, to the null server."""
    attachments: bool = False
    tls: bool = False
    bdat: bool = False
    """To the null server in Python, which offers CHUNKING."""
    delivers: bool = True
    """False: nothing reaches the null server."""


@dataclass(frozen=True, slots=True)
class Row:
    """A contender. Command lines run in ``benchmarks/peers``, with the environment's programs on PATH."""

    name: str
    table: Table
    about: str
    client: str
    """Hands the letters in, or sends them itself: see peers/turns.py."""
    worker: str = ""
    workers: int = 1
    """How many such processes."""
    environment: Environment = OURS
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its processes; ``{redis_url}``, ``{smtp_port}`` and ``{ca_file}`` are filled in."""
    settled: Settled = lambda url, letters: True
    times: float = 1.0
    """How many times the table's letters: who is fast gets more, so that it takes seconds, not its first moments."""


def celery_is_idle(url: str, letters: int) -> bool:
    """Celery leaves no account of what is done: no message is waiting, none is with a worker."""
    with Redis.from_url(url) as redis:
        return not redis.llen("celery") and not redis.hlen("unacked")


def bullmq_has_queued(url: str, letters: int) -> bool:
    """All wait in BullMQ's queue."""
    with Redis.from_url(url) as redis:
        return int(redis.llen("bull:mail:wait")) >= letters


def bullmq_has_completed(url: str, letters: int) -> bool:
    """BullMQ has recorded all as done."""
    with Redis.from_url(url) as redis:
        return int(redis.zcard("bull:mail:completed")) >= letters


def ledger_has(state: LetterState) -> Settled:
    """All are in this state in Postroom's ledger."""

    def settled(url: str, letters: int) -> bool:
        ledger = Postroom(Settings(redis_url=url)).ledger
        try:
            return views.counts(ledger)[state] >= letters
        finally:
            ledger.redis.close()

    return settled


SMALL = Table("Letters of text and HTML, end to end")
TLS = Table("The same over STARTTLS, to the null server in Python", tls=True)
ATTACHED = Table("Letters with an attachment of 1 MB", part=0.1, attachments=True)
QUEUED = Table("Queueing alone: no worker runs", part=20, delivers=False)
SCALED = Table("With more worker processes")
FAR = Table("Over a line of 10 ms each way", part=0.4, delay_ms=10)
FAR_BDAT = Table("The same, to a null server that offers CHUNKING (BDAT)", part=0.4, delay_ms=10, bdat=True)
NOTHING = Table("What Celery costs when its tasks do nothing", part=2, delivers=False)

SENT = ledger_has(LetterState.SENT)
POSTROOM = {
    "POSTROOM_REDIS_URL": "{redis_url}",
    "POSTROOM_RELAY_URL": "smtp+plain://127.0.0.1:{smtp_port}",
    "POSTROOM_EHLO_NAME": "client.example.org",
}
POSTROOM_TLS = {
    **POSTROOM,
    "POSTROOM_RELAY_URL": "smtp+starttls://localhost:{smtp_port}",
    "POSTROOM_CA_FILE": "{ca_file}",
}


def ours(name: str, table: Table, about: str, how: str, times: float = 1.0, **variables: str) -> Row:
    """A row of Postroom with a worker of two processes."""
    relay = POSTROOM_TLS if table.tls else POSTROOM
    return Row(
        name,
        table,
        f"Postroom: {about}",
        f"python ours.py {how}",
        POSTROOM_WORKER,
        variables={**relay, **variables},
        settled=SENT,
        times=times,
    )


def with_processes(number: int) -> Row:
    """A row of Postroom with a worker of so many processes."""
    two = ours(f"bulk-{number}", SCALED, f"`send_letters`, {number} worker processes", "bulk", 16)
    return replace(two, worker=f"celery -A postroom_worker {_WORKER.format(number)}")


def naive(name: str, table: Table) -> Row:
    """A row of the naive Celery task with a worker of two processes."""
    return Row(
        name,
        table,
        "naive Celery task: `EmailMessage`, a fresh `smtplib.SMTP`",
        "python naive_celery.py",
        f"celery -A naive_celery {CELERY_WORKER}",
        environment=CELERY,
        settled=celery_is_idle,
    )


def bullmq(name: str, table: Table, times: float = 1.0) -> Row:
    """A row of nodemailer behind BullMQ, with two workers."""
    return Row(
        name,
        table,
        "nodemailer's pool behind BullMQ, `addBulk`",
        "node bullmq.cjs client",
        BULLMQ_WORKER,
        2,
        environment=NODE,
        settled=bullmq_has_completed,
        times=times,
    )


ROWS = [
    naive("naive", SMALL),
    Row(
        "django-celery-email",
        SMALL,
        "django-celery-email, chunks of 10",
        "python django_celery_email.py",
        f"celery -A django_celery_email {CELERY_WORKER}",
        environment=DJANGO_CELERY_EMAIL,
        settled=celery_is_idle,
        times=4,
    ),
    Row(
        "django-post_office",
        SMALL,
        "django-post_office, `send_many`, 2 processes of 5 threads, SQLite",
        "python django_post_office.py",
        environment=POST_OFFICE,
        times=2,
    ),
    bullmq("bullmq", SMALL, times=6),
    Row(
        "aiosmtplib",
        SMALL,
        "aiosmtplib in a loop, one connection, no queue",
        "python aiosmtplib_loop.py",
        environment=AIOSMTPLIB,
        times=2,
    ),
    Row("smtplib", SMALL, "smtplib, one kept connection, no queue", "python smtplib_kept.py", times=2),
    Row(
        "smtp-source",
        SMALL,
        "smtp-source (C), 8 connections: the limit",
        "python smtp_source.py",
        environment=POSTFIX,
        times=20,
    ),
    ours("single", SMALL, "`send_letter`", "single", 2),
    ours("bulk", SMALL, "`send_letters`", "bulk", 16),
    ours("bulk-hold", SMALL, '`send_letters`, `on_uncertain="hold"`', "bulk --on-uncertain hold", 16),
    naive("naive-tls", TLS),
    ours("single-tls", TLS, "`send_letter`", "single"),
    ours("bulk-tls", TLS, "`send_letters`", "bulk", 16),
    naive("naive-1mb", ATTACHED),
    bullmq("bullmq-1mb", ATTACHED, times=2),
    ours("bulk-1mb", ATTACHED, "`send_letters`, each has its own", "bulk --chunk 10", 4),
    ours("bulk-1mb-same", ATTACHED, "`send_letters`, all have the same", "bulk --chunk 10 --same-attachment", 4),
    Row(
        "queue-bullmq",
        QUEUED,
        "BullMQ, `addBulk`",
        "node bullmq.cjs client",
        environment=NODE,
        settled=bullmq_has_queued,
    ),
    Row(
        "queue-bulk",
        QUEUED,
        "Postroom: `send_letters`",
        "python ours.py bulk",
        variables=POSTROOM,
        settled=ledger_has(LetterState.QUEUED),
    ),
    *(with_processes(each) for each in (1, 2, 4)),
    Row("smtplib-far", FAR, "smtplib, one kept connection, no queue", "python smtplib_kept.py", times=0.5),
    Row(
        "nodemailer-far",
        FAR,
        "nodemailer's pool, 16 connections, no queue",
        "node nodemailer.cjs 16",
        environment=NODE,
        times=8,
    ),
    ours("bulk-far", FAR, "`send_letters`, 1 session a process", "bulk", 4, **{SESSIONS: "1"}),
    ours("bulk-far-4", FAR, "`send_letters`, 4 sessions a process", "bulk", 8, **{SESSIONS: "4"}),
    ours("bulk-far-16", FAR, "`send_letters`, 16 sessions a process", "bulk", 16, **{SESSIONS: "16"}),
    ours("bulk-far-16-400", FAR, "the same, chunks of 400", "bulk --chunk 400", 32, **{SESSIONS: "16"}),
    Row("smtplib-far-bdat", FAR_BDAT, "smtplib, one kept connection, no queue", "python smtplib_kept.py", times=0.5),
    ours("bulk-far-bdat", FAR_BDAT, "`send_letters`, 1 session a process", "bulk", 8, **{SESSIONS: "1"}),
    ours("bulk-far-bdat-4", FAR_BDAT, "`send_letters`, 4 sessions a process", "bulk", 16, **{SESSIONS: "4"}),
    Row(
        "no-op",
        NOTHING,
        "no-op Celery task",
        "python noop_celery.py",
        f"celery -A noop_celery {CELERY_WORKER}",
        environment=CELERY,
        settled=celery_is_idle,
    ),
]
