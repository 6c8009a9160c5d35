"""Encoded words: text beyond ASCII inside a header field (RFC 2047)."""

from __future__ import annotations

import binascii
import re
import unicodedata
from itertools import groupby

from postroom.mime.charset import codec_of

LONGEST_WORD = 75
"""Octets of an encoded word (RFC 2047 §2)."""

_FRAME = len("=?utf-8?q??=")
_SHORTEST_WORD = _FRAME + len("=F0=9F=8C=B3")

# RFC 2047 §5 (3): the octets that may stand for themselves in a phrase. They serve in every field.
_LITERAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_SINGLE = _LITERAL + b" "
_Q = [chr(octet) if octet in _LITERAL else f"={octet:02X}" for octet in range(256)]
_Q[ord(" ")] = "_"

_WORD_PATTERN = r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([BbQq])\?([!->@-~]*)\?="
_WORD = re.compile(_WORD_PATTERN)
_ADJACENT_WORDS = re.compile(rf"{_WORD_PATTERN}(?:[ \t]*{_WORD_PATTERN})*")
_FOLD = re.compile(r"\r?\n(?=[ \t])")

_ZERO_WIDTH_JOINER = "\u200d"


def encode_words(text: str, room: int = LONGEST_WORD) -> list[str]:
    """Return `text` as encoded words: UTF-8, in Q or B, whichever is shorter.

    No word splits a character, nor what a reader sees as one (marks, joined emoji) where one word can hold that.

    Args:
        text: one character at least, without lone surrogates.
        room: octets that the first word may take; where they hold no character, it takes what a word can.
    """
    octets = text.encode()
    q = len(octets) + 2 * len(octets.translate(None, _SINGLE)) <= (len(octets) + 2) // 3 * 4
    room = min(room, LONGEST_WORD) if room >= _SHORTEST_WORD else LONGEST_WORD
    words = []
    start = 0
    while start < len(octets):
        window = octets[start : start + room]
        end = start + _fitting(window, room - _FRAME, q)
        words.append(_word(octets[start:end], q))
        start, room = end, LONGEST_WORD
    return words


def decode_header(text: str) -> str:
    """Return the text that a header field's body stands for: unfolded, its encoded words decoded (RFC 2047 §6).

    White space between two encoded words is no part of the text; all other white space is. A word in an unknown
    charset or with a broken encoding is left as it is; octets that its charset does not have become U+FFFD. The
    result is data: it may hold line ends and controls, and is checked again wherever it is used.
    """
    text = _FOLD.sub("", text)
    return _ADJACENT_WORDS.sub(_decode_words, text) if "=?" in text else text


def _word(octets: bytes, q: bool) -> str:
    if q:
        return f"=?utf-8?q?{''.join([_Q[octet] for octet in octets])}?="
    return f"=?utf-8?b?{binascii.b2a_base64(octets, newline=False).decode()}?="


def _fitting(window: bytes, room: int, q: bool) -> int:
    """Return how many octets of `window` fill one word's room, in complete characters."""
    fitting = _octets_in_q(window, room) if q else room // 4 * 3
    if fitting >= len(window):
        return len(window)
    text = window.decode("utf-8", "ignore")
    end = len(window[:fitting].decode("utf-8", "ignore"))
    whole = next((index for index in range(end, 0, -1) if not _joined(text, index)), end)
    return len(text[:whole].encode())


def _octets_in_q(window: bytes, room: int) -> int:
    spelled = "".join([_Q[octet] for octet in window])[:room]
    if (cut_escape := spelled.rfind("=", -2)) > 0:
        spelled = spelled[:cut_escape]
    return len(spelled) - 2 * spelled.count("=")


def _joined(text: str, index: int) -> bool:
    """Say whether a reader sees the characters before and after `index` as one."""
    after = text[index : index + 1]
    return (
        text[index - 1] == _ZERO_WIDTH_JOINER
        or after == _ZERO_WIDTH_JOINER
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or (after != "" and unicodedata.category(after).startswith("M"))
    )


def _decode_words(run: re.Match[str]) -> str:
    # Some senders split a character between two words: so octets are joined before they become text.
    pieces: list[str] = []
    literal = False
    for charset, words in groupby(_WORD.finditer(run[0]), key=lambda word: word[1].lower()):
        spelled = list(words)
        was_literal, literal = literal, False
        try:
            text = _text_of(charset, spelled)
        except ValueError:
            text, literal = " ".join(word[0] for word in spelled), True
        pieces += [" ", text] if pieces and (literal or was_literal) else [text]
    return "".join(pieces)


def _text_of(charset: str, words: list[re.Match[str]]) -> str:
    _, codec = codec_of(charset, "charset")
    text, _ = codec.decode(b"".join(map(_octets_of, words)), "replace")
    return text


def _octets_of(word: re.Match[str]) -> bytes:
    if word[2] in "Qq":
        return binascii.a2b_qp(word[3], header=True)
    return binascii.a2b_base64(word[3] + "==")  # some senders leave the padding off
