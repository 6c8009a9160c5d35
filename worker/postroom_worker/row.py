"""What a monitor is told of a letter's task: the row shows how it stands, and no longer why it once had to wait."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class Row(Request):
    """A letter's task, as the worker's main process sees it. A letter's tasks all have its id, and so one row."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002  # Celery's name
        """Tell what happened to it."""
        cleared = {"exception": None, "traceback": None} if type == "task-succeeded" else {}
        super().send_event(type, **cleared, **fields)
