"""Composing: from header fields and parts to the octets of a message. Pure; nothing here knows a server or the ledger.

Shape (RFC 2046 §5.1, RFC 2387): the bodies that say the same become multipart/alternative, plainest first; html and the
images it shows multipart/related; and with attachments all of it multipart/mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from postroom.mime.part import Part
from postroom.mime.render import MIME_VERSION, render
from postroom.mime.stored import Stored


def shape(
    text: Part | None,
    html: Part | None = None,
    calendar: Part | None = None,
    inline: Sequence[Part] = (),
    attachments: Sequence[Part] = (),
) -> Part:
    """Return the one part that holds them all. There is at least one, and without html nothing inline."""
    shown = _multipart("related", [html, *inline], type=html.content_type) if html and inline else html
    bodies = [body for body in (text, shown, calendar) if body is not None]
    if not bodies:
        return _multipart("mixed", attachments)
    body = bodies[0] if len(bodies) == 1 else _multipart("alternative", bodies)
    if calendar:
        # Readers that know no invitations show the file.
        file = replace(
            calendar, content_type="application/ics", parameters=(), disposition="attachment", name="invite.ics"
        )
        attachments = (*attachments, file)
    if not attachments:
        return body
    if body.content_type == "multipart/mixed":
        return replace(body, subparts=(*body.subparts, *attachments))
    return _multipart("mixed", [body, *attachments])


def _multipart(subtype: str, subparts: Iterable[Part], **parameters: str) -> Part:
    return Part(f"multipart/{subtype}", parameters=tuple(parameters.items()), subparts=tuple(subparts))


def message(
    fields: Iterable[bytes], root: Part, seed: str, read: Callable[[Stored], bytes] | None = None
) -> list[bytes]:
    """Return the octets of a message, in chunks to be joined or written one after the other.

    Args:
        fields: complete header fields, but for those of the root part.
        root: the part that is the message's body.
        seed: what boundaries derive from: the letter's id.
        read: gives the octets of a part whose content is stored elsewhere.
    """
    return [*fields, MIME_VERSION, *render(root, seed, read)]
