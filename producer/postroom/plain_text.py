"""A readable text of what is given in html only, for readers that show no html. A library makes it."""

from __future__ import annotations

import logging

import html2text

log = logging.getLogger("postroom")

HTML_MAX = 256 * 1024
"""Characters of html beyond which no text is made of it: the caller should not wait for that."""
_TEXT_MAX = 128 * 1024


def from_html(html: str) -> str | None:
    """Return the html as text: links with their addresses behind them, no images. Nothing is fetched.

    Returns:
        None when there is nothing to read in it, or it cannot be made: then the letter goes without.
    """
    if len(html) > HTML_MAX:
        return None
    reader = html2text.HTML2Text(bodywidth=0)
    reader.ignore_images = True
    reader.ignore_emphasis = True
    reader.inline_links = True
    reader.protect_links = False
    reader.unicode_snob = True
    try:
        text = reader.handle(html).strip()
    except Exception as error:
        log.warning("no text could be made of the html: %s", type(error).__name__)
        return None
    return text[:_TEXT_MAX] + "\n" if text else None
