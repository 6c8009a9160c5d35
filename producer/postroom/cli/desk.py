"""What the commands work with: the settings, the ledger and the broker, opened when they are first needed."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import replace
from functools import cached_property

import click

from postroom.ledger import Ledger
from postroom.reply import printable
from postroom.sending import Postroom
from postroom.settings import Settings


class Desk:
    """An operator's desk. Nothing is read or connected before it is asked for, so that ``--help`` always works."""

    def __init__(self, redis_url: str | None) -> None:
        """Set up.

        Args:
            redis_url: the ledger's, in place of what the environment says.
        """
        self._redis_url = redis_url

    @cached_property
    def postroom(self) -> Postroom:
        """The ledger and the broker, connected at first use.

        Raises:
            InvalidSettings: the environment, or the URL, cannot be read.
        """
        settings = Settings.from_environment()
        return Postroom(replace(settings, redis_url=self._redis_url) if self._redis_url else settings)

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.postroom.ledger

    def close(self) -> None:
        """Close the ledger's connections, if it was asked for."""
        if "postroom" in vars(self):
            self.ledger.redis.close()

    @cached_property
    def by(self) -> str:
        """Who acts: user and machine, as letters' histories name them."""
        return printable(f"{_user()}@{socket.gethostname()}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user often has no name
        return str(os.getuid())


pass_desk = click.make_pass_decorator(Desk)
