"""django-celery-email: Django's mail backend that queues in chunks of ten. ``celery -A django_celery_email worker``."""

from __future__ import annotations

import django
from celery import Celery
from django.conf import settings

from django_mail import django_message
from turns import REDIS_URL, SMTP_PORT, Letters, take_turns

settings.configure(
    INSTALLED_APPS=["djcelery_email"],
    EMAIL_BACKEND="djcelery_email.backends.CeleryEmailBackend",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=SMTP_PORT,
    LOGGING_CONFIG=None,
)
django.setup()
app = Celery("django_celery_email", broker=REDIS_URL)
app.conf.imports = ["djcelery_email.tasks"]
app.set_default()


def queue(letters: Letters) -> None:
    from django.core.mail import get_connection

    get_connection().send_messages([django_message(letter) for letter in letters])


if __name__ == "__main__":
    take_turns(queue)
