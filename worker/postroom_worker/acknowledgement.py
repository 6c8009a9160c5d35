"""Acknowledgement over Redis: a letter is kept there until its task has accepted it; a bell is not.

Kombu notes each message as taken, and strikes it out when its task has ended: two transactions, a third of what a
worker's main process does. What it would do for a bell whose worker was killed, ring again after the visibility timeout
of 15 minutes, the schedule does: in seconds when the queues are empty, and after `POSTROOM_BELL_S` else.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual

from postroom.bell import ACCEPT


class QoS(redis.QoS):
    """Kombu's, but for bells."""

    _delivered: Any
    channel: Any

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take note that a message was taken."""
        if _is_letter(message):
            super().append(message, delivery_tag)
        else:
            virtual.QoS.append(self, message, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue."""
        message = self._delivered.get(tag)
        if message is None or _is_letter(message):
            super().restore_by_tag(tag, client, leftmost)
            return
        raw: Any = message._raw  # noqa: SLF001  (as kombu's own does)
        way = message.delivery_info["exchange"], message.delivery_info["routing_key"]
        with self.pipe_or_acquire(client=client) as pipe:
            self.channel._do_restore_message(raw, *way, pipe, leftmost)  # noqa: SLF001  (as kombu's own does)
            pipe.execute()

    def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
        """Strike out what was noted of a message; for a bell there is nothing to do."""
        message = self._delivered.get(delivery_tag)
        if message is None or _is_letter(message):
            return super()._remove_from_indices(delivery_tag, pipe)  # type: ignore[misc]  # its stubs do not know it
        with self.pipe_or_acquire(pipe) as nothing:
            return nothing


def acknowledge_letters_alone(channel: Any) -> None:
    """Have a channel that nothing was taken from yet do so, if it is Redis's."""
    if isinstance(channel, redis.Channel):
        channel.QoS = QoS


def _is_letter(message: Any) -> bool:
    return bool(message.headers.get("task") == ACCEPT)
