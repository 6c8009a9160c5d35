"""Log lines as JSON, an object a line: the same keys for what Postroom and what Celery logs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from postroom.errors import InvalidSettings
from postroom.settings import Settings

_OF_AN_ATTEMPT = ("letter", "attempt", "relay", "outcome", "state", "reply", "recipients", "took_ms", "trace")
"""Nothing else that somebody hangs on a record is written: it might be anything."""


def is_wanted(settings: Settings) -> bool:
    """Return whether the settings ask for it.

    Raises:
        InvalidSettings: they ask for a format that is none.
    """
    if settings.log_format not in ("text", "json"):
        raise InvalidSettings("POSTROOM_LOG_FORMAT has to be `text` or `json`")
    return settings.log_format == "json"


class JsonFormatter(logging.Formatter):
    """Writes a record as ``time``, ``level``, ``logger``, ``process``, ``message``, and what it is about.

    A line about an attempt has the keys `_OF_AN_ATTEMPT`; one of Celery's about a task, ``task`` and ``task_id`` (of a
    letter that travels alone, the letter's id); one about an error, ``error`` with the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        line |= {key: getattr(record, key) for key in _OF_AN_ATTEMPT if hasattr(record, key)}
        task = getattr(record, "data", None)
        if isinstance(task, dict) and "id" in task:
            line |= {"task": task.get("name"), "task_id": task["id"]}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()
