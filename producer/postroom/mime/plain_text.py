"""A readable text of what is given in html only, for readers that show no html. A library makes it.

The library, and Python's html.parser below it, take the square of the time or more for html that nobody writes by
hand: 256 KiB of ``<!--`` half a minute, 16,000 line feeds four seconds (measured). So the html is tamed first, in one
pass, and no text is made of what is too large, or nested too deeply.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import html2text

log = logging.getLogger("postroom")

HTML_MAX = 256 * 1024
"""Characters of html beyond which no text is made of it: the caller should not wait for that."""
_TEXT_MAX = 128 * 1024
_MARKUP_MAX = 10_000
"""Tags and character references, together."""
_TAG_MAX = 4000
_NESTED_MAX = 30

_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9:-]*+)(?:[^<>"']++|"[^"]*+"|'[^']*+')*+>""")
_NESTING = ("blockquote", "dd", "dl", "ol", "pre", "q", "ul")
_BLANKS = re.compile(r"\s{100,}+")


def from_html(html: str) -> str | None:
    """Return the html as text: links with their addresses behind them, no images. Nothing is fetched.

    Returns:
        None when there is nothing to read in it, or it cannot be made: then the letter goes without.
    """
    if len(html) > HTML_MAX or html.count("<") + html.count("&") > _MARKUP_MAX:
        return None
    reader = html2text.HTML2Text(bodywidth=0)
    reader.ignore_images = True
    reader.ignore_emphasis = True
    reader.inline_links = True
    reader.protect_links = False
    reader.unicode_snob = True
    try:
        text = reader.handle(_BLANKS.sub("\n", "".join(_tamed(html)))).strip()
    except Exception as error:
        log.warning("no text could be made of the html: %s", type(error).__name__)
        return None
    return text[:_TEXT_MAX] + "\n" if text else None


def _tamed(html: str) -> Iterator[str]:
    """Yield the html without comments, declarations and instructions; what only looks like a tag is text.

    Raises:
        ValueError: lists and quotations are nested too deeply.
    """
    start, depths = 0, dict.fromkeys(_NESTING, 0)
    while (place := html.find("<", start)) >= 0:
        yield html[start:place]
        if tag := _TAG.match(html, place, place + _TAG_MAX):
            name = tag[2].lower()
            if name in depths:
                depths[name] = max(0, depths[name] + (-1 if tag[1] else 1))
                if depths[name] > _NESTED_MAX:
                    raise ValueError("it is nested too deeply")
            yield tag[0]
            start = tag.end()
        elif html.startswith(("<!", "<?"), place):
            close = "-->" if html.startswith("<!--", place) else ">"
            end = html.find(close, place)
            # As browsers do: what is never closed hides all that follows.
            start = len(html) if end < 0 else end + len(close)
        else:
            yield "&lt;"
            start = place + 1
    yield html[start:]
