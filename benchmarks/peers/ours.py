"""Postroom: ``python ours.py single | bulk [--chunk N] [--on-uncertain hold] [--same-attachment]``."""

from __future__ import annotations

import argparse
from typing import Any

from postroom import Letter, send_letter, send_letters
from turns import Letters, attachment, take_turns


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["single", "bulk"])
    parser.add_argument("--chunk", type=int, default=100)
    parser.add_argument("--on-uncertain", choices=["resend", "hold"], default="resend")
    parser.add_argument("--same-attachment", action="store_true", help="all letters have that of the first")
    given = parser.parse_args()
    first: list[bytes] = []

    def keywords(letter: dict[str, Any]) -> dict[str, Any]:
        found = {"to": letter["to"], "from_": letter["from"], "subject": letter["subject"]}
        if octets := attachment(letter):
            first.append(octets)
            found["attachments"] = [("a.bin", first[0] if given.same_attachment else octets)]
        return {**found, "message": letter["text"], "html": letter["html"], "on_uncertain": given.on_uncertain}

    def single(letters: Letters) -> None:
        for letter in letters:
            send_letter(**letter)

    def bulk(letters: Letters) -> None:
        send_letters((Letter(**letter) for letter in letters), chunk=given.chunk)

    take_turns(single if given.how == "single" else bulk, keywords)


if __name__ == "__main__":
    main()
