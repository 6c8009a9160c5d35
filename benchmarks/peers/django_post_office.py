"""django-post_office: letters in a database, sent by ``send_queued_mail`` in two processes."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django
from django.conf import settings

from turns import SMTP_PORT, Letters, take_turns


def configure(folder: Path) -> None:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=SMTP_PORT,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "letters.sqlite3"}},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=True,
        SECRET_KEY="benchmark",
        LOGGING_CONFIG=None,
    )
    django.setup()
    logging.getLogger("post_office").setLevel(logging.ERROR)


def keywords(letter: dict[str, Any]) -> dict[str, Any]:
    """What `post_office.mail.send_many` takes."""
    return {
        "recipients": [letter["to"]],
        "sender": letter["from"],
        "subject": letter["subject"],
        "message": letter["text"],
        "html_message": letter["html"],
    }


def main(folder: Path) -> None:
    configure(folder)
    from django.core.management import call_command
    from post_office import mail

    def send(letters: Letters) -> None:
        mail.send_many([keywords(letter) for letter in letters])
        call_command("send_queued_mail", processes=2, lockfile=str(folder / "lock"))

    call_command("migrate", verbosity=0)
    take_turns(send)


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        main(Path(name))
