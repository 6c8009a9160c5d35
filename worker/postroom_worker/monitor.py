"""Flower as Postroom runs it: it shows nothing without the password, and of what acts it lets through our tasks alone.

As it comes, Flower 2.2 answers ``/metrics`` and ``/healthcheck`` to anybody. The first tells how much mail goes out:
it asks for the password here. The second says "OK" and nothing else, and probes carry no password: it stays open.

What Flower itself can do to workers and tasks is off. A task that is revoked is a letter that waits, for the worker
forgets no id that it was told to drop; and ``send-task`` would put anything on the queue.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from inspect import signature
from typing import Any

from flower import urls
from flower.api.tasks import BaseTaskHandler
from flower.views.monitor import Metrics
from tornado.web import HTTPError, authenticated

from postroom.errors import InvalidLetter
from postroom.letter_id import check_id

_METRICS = r"/metrics"
_APPLY = r"/api/task/async-apply/(.+)"

Check = Callable[[str, list[Any], dict[str, Any]], None]


class ClosedMetrics(Metrics):  # type: ignore[misc]  # Flower has no types
    """The counters of what happened, for who has the password: Prometheus sends it with ``basic_auth``."""

    @authenticated
    async def get(self) -> None:
        """Show them."""
        await super().get()


class Act(BaseTaskHandler):  # type: ignore[misc]
    """Starts an operator's task, and none else. Who acts is who has signed in."""

    def initialize(self, acts: frozenset[str]) -> None:
        """Take the names of the tasks that may be started."""
        self._acts = acts

    @authenticated
    async def post(self, name: str) -> None:
        """Start it: ``{"args": ["LETTER-ID"], "kwargs": {"reason": "…"}}``."""
        if name not in self._acts:
            raise HTTPError(403, f"only these are started here: {', '.join(sorted(self._acts))}")
        args, kwargs, options = self.get_task_args()
        if options:
            raise HTTPError(400, f"there is no such thing to be given: {', '.join(sorted(options))}")
        letter_id, reason = _letter_and_reason(args, kwargs)
        arguments = {"reason": reason, "by": f"{self._user()}, in Flower"}
        result = await self.run_blocking(
            "task.publish",
            name,
            self.capp.tasks[name].apply_async,
            args=(letter_id,),
            kwargs=arguments,
            argsrepr=f"({letter_id})",
            kwargsrepr="",
        )
        self.write({"task-id": result.task_id})

    def _user(self) -> str:
        """The name before the password, which was right: else nobody had come here."""
        _, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        name = base64.b64decode(credentials).decode("utf-8", "replace").partition(":")[0]
        return name or str(self.get_current_user())


def guard(acts: frozenset[str]) -> None:
    """Have Flower ask for the password everywhere, and start these tasks although it is read-only.

    Args:
        acts: their names; none is started when there is none.

    Raises:
        RuntimeError: this Flower is not the one that this was written for: it would be open where nobody expects it.
    """
    places = {each[0]: place for place, each in enumerate(urls.handlers) if isinstance(each, tuple)}
    if not {_METRICS, _APPLY} <= places.keys():
        raise RuntimeError("this version of Flower cannot be guarded: install flower>=2.2,<3")
    urls.handlers[places[_METRICS]] = (_METRICS, ClosedMetrics)
    if acts:
        urls.handlers[places[_APPLY]] = (_APPLY, Act, {"acts": acts})


def _letter_and_reason(args: list[Any], kwargs: Any) -> tuple[str, str]:
    def given(letter_id: str, *, reason: str = "") -> tuple[str, str]:
        if not isinstance(reason, str):
            raise TypeError("'reason' has to be a string")
        return check_id(letter_id, "letter_id"), reason

    try:
        bound = signature(given).bind(*args, **kwargs)
        return given(*bound.args, **bound.kwargs)
    except (TypeError, InvalidLetter) as error:
        raise HTTPError(400, str(error).replace("%", "%%")) from None
