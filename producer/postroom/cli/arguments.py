"""What the arguments of commands can be: letters' ids, spans of time, moments, reply codes; and ``--json``."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import click

from postroom import clock
from postroom.errors import InvalidLetter
from postroom.ledger.query import is_code_pattern
from postroom.letter_id import check_id

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPAN = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)


class LetterId(click.ParamType[str]):
    """A letter's id."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_id(value)
        except InvalidLetter as error:
            self.fail(f"{error.problems[0].problem}; {error.problems[0].remedy}", param, ctx)


class Span(click.ParamType[int]):
    """A span of time, such as ``90s``, ``15m``, ``2h``, ``3d`` or ``1w``, in milliseconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SPAN.fullmatch(value)
        if not found:
            self.fail(f"{value!r} is no span of time: write 90s, 15m, 2h, 3d or 1w", param, ctx)
        return int(found[1]) * _UNITS_MS[found[2]]


class Moment(click.ParamType[int]):
    """A moment in milliseconds since 1970: a span of time from now, or date and time, in this machine's time zone."""

    name = "moment"

    def __init__(self, *, ahead: bool = False) -> None:
        """Set which way a span goes.

        Args:
            ahead: into the future; else into the past.
        """
        self._sign = 1 if ahead else -1

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if found := _SPAN.fullmatch(value):
            return clock.wall_ms() + self._sign * int(found[1]) * _UNITS_MS[found[2]]
        try:
            return int(datetime.fromisoformat(value).timestamp() * 1000)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no moment: write 15m, 2h, 3d, 2026-11-30 or 2026-11-30T08:00", param, ctx)


class ReplyCode(click.ParamType[str]):
    """A reply code or an enhanced status code; ``x`` is any digit."""

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_code_pattern(value):
            self.fail(f"{value!r} is no reply code: write 451, 4xx, 4.7.1 or 5.1.x", param, ctx)
        return str(value)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a line.")
