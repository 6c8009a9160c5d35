"""The worker side of Postroom: ``celery -A postroom_worker worker``."""

from postroom_worker.app import app

__all__ = ["app"]
