"""What Celery alone costs: a task a letter, that does nothing. The worker: ``celery -A noop_celery worker``."""

from __future__ import annotations

from celery import Celery

from turns import REDIS_URL, Letters, take_turns

app = Celery("noop", broker=REDIS_URL)


@app.task(name="do_nothing")
def do_nothing(address: str) -> None:
    """Do nothing."""


def queue(letters: Letters) -> None:
    for letter in letters:
        do_nothing.delay(letter["to"])


if __name__ == "__main__":
    take_turns(queue)
