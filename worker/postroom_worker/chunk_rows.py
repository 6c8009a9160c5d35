"""What a monitor is told of a chunk: beside its own row, one for each letter that is not sent at once, as of one alone.

The others have none: a campaign would push whatever is of interest out of the monitor, and pay for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery

from postroom.bell import DELIVER
from postroom.sending import summary
from postroom.states import LetterState
from postroom_worker.outbox import Delivered


def tell_of_delayed(app: Celery, hostname: str, done: Sequence[Delivered]) -> None:
    """Tell the monitor of the letters of a chunk that were not sent at once; a broker that is away is told nothing.

    Args:
        app: whose events they are.
        hostname: the worker, as its own events name it.
        done: what became of the chunk.
    """
    delayed = [each for each in done if each.is_ours and not (each.state == LetterState.SENT and each.is_first)]
    if not delayed or not app.conf.worker_send_task_events:
        return
    with app.connection_for_write() as connection:
        # All in one message; what cannot be told is dropped with the dispatcher.
        events = app.events.Dispatcher(connection, hostname, buffer_group=("task",), buffer_limit=4 * len(delayed))
        for each in delayed:
            argument = f"({summary(tuple(recipient.address for recipient in each.recipients))})"
            events.send("task-received", uuid=each.letter_id, name=DELIVER, args=argument, kwargs="", retries=0)
            events.send("task-started", uuid=each.letter_id)
            what, fields = _end(each)
            events.send(what, uuid=each.letter_id, **fields)
        events.flush()
        events.close()


def _end(of: Delivered) -> tuple[str, dict[str, object]]:
    """The event that ends its task, and what it says: as Celery tells of one that goes alone."""
    if of.state == LetterState.SENT:
        return "task-succeeded", {"result": str({"state": of.state, "why": of.why}), "exception": None, "runtime": 0}
    if of.state == LetterState.DEFERRED:
        return "task-retried", {"exception": f"NotDelivered({of.why!r})", "traceback": ""}
    return "task-failed", {"exception": f"NotDelivered({f'{of.state}: {of.why}'!r})", "traceback": ""}
