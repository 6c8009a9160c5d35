"""The Celery app of a worker machine: ``celery -A postroom_worker worker``. Each setting has its reason."""

from __future__ import annotations

import warnings

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from kombu import Queue

from postroom.bell import BULK_QUEUE, QUEUE, broker_options, schema_queue
from postroom.letter_json import SCHEMA
from postroom.settings import process_settings
from postroom_worker.timer import Timer

# Celery 5.7 prints this however the setting stands.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning, message=".*worker_cancel_long_running.*")

app = Celery("postroom_worker", broker=process_settings().broker)
app.conf.update(
    imports=("postroom_worker.tasks",),
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
    task_ignore_result=True,
    task_track_started=True,
    worker_send_task_events=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=QUEUE,
    task_create_missing_queues=False,
    # The last ones hold what older workers could not read.
    task_queues=(Queue(QUEUE), Queue(BULK_QUEUE), *map(schema_queue, range(2, SCHEMA + 1))),
    # Fresh single letters first: the order of the queues is the order they are looked at.
    broker_transport_options={
        **broker_options(process_settings().redis_timeout_s),
        "queue_order_strategy": "priority",
    },
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
app.steps["consumer"].add(Timer)
