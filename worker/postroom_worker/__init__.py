"""The worker side of Postroom: ``celery -A postroom_worker worker``."""

from postroom_worker import inspection  # noqa: F401  (`celery inspect` knows only what is imported by now)
from postroom_worker.app import app

__all__ = ["app"]
