"""The Celery app of a worker machine: ``celery -A postroom_worker worker``. Each setting has its reason."""

from __future__ import annotations

import warnings
from logging import Logger
from typing import Any

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import after_setup_logger, after_setup_task_logger, worker_init

from postroom import broker
from postroom.errors import InvalidSettings
from postroom.letter_json import SCHEMA
from postroom.settings import process_settings
from postroom_worker.json_log import JsonFormatter, is_wanted
from postroom_worker.relay_file import read_relays
from postroom_worker.signing_key import read_keys
from postroom_worker.staging import Redirect
from postroom_worker.timer import Timer
from postroom_worker.webhook.notifier import Notify
from postroom_worker.webhook.receiver import Receiver

# Celery 5.7 prints this however the setting stands.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning, message=".*worker_cancel_long_running.*")

app = Celery("postroom_worker")
app.conf.update(
    broker.celery_settings(process_settings().broker, process_settings().redis_timeout_s, SCHEMA),
    imports=("postroom_worker.tasks", "postroom_worker.operator_tasks"),
    # A message is only a bell: one that comes twice, late or never is harmless, since the ledger's claim admits one
    # worker and the schedule rings again. So nothing is ever requeued by Celery, and nothing is waited for in it.
    task_acks_late=True,
    task_acks_on_failure=True,
    task_acks_on_timeout=True,
    task_reject_on_worker_lost=False,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # What became of a letter is in the ledger.
    result_backend=None,
    task_track_started=True,
    worker_send_task_events=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A Redis that has become a replica, is full or busy answers with errors: no end of the connection, and none of us.
    broker_channel_error_retry=True,
    worker_consumer="postroom_worker.consumer:Consumer",
    # No soft shutdown: it is a fixed sleep, in which finished letters are not acknowledged. On SIGTERM the warm one
    # waits for the letters in hand (`stopping` keeps that short), and whoever started us bounds it by SIGKILL.
    worker_soft_shutdown_timeout=0.0,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_max_tasks_per_child=10_000,
    enable_utc=True,
    timezone="UTC",
)
app.steps["consumer"].update((Timer, Notify))


@worker_init.connect
def check_settings(**_: object) -> None:
    """Read what describes relays, keys, redirections and webhooks before the first letter does.

    Raises:
        SystemExit: one cannot be read; Celery would log any other error of ours, and go on.
    """
    settings = process_settings()
    try:
        read_relays(settings)
        read_keys(settings.dkim)
        Redirect.of(settings)
        Receiver.all_of(settings)
        is_wanted(settings)
    except InvalidSettings as error:
        raise SystemExit(f"postroom: {error}") from None


@worker_init.connect
def leave_out_banner(sender: Any, **_: object) -> None:
    """Print no banner among lines that are JSON."""
    sender.quiet = is_wanted(process_settings())


@after_setup_logger.connect
@after_setup_task_logger.connect
def write_json(logger: Logger, **_: object) -> None:
    """Have Celery's own lines, too, written as POSTROOM_LOG_FORMAT says."""
    if is_wanted(process_settings()):
        for handler in logger.handlers:
            handler.setFormatter(JsonFormatter())
