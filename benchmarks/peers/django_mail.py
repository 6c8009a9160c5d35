"""A letter as Django's documentation composes it."""

from __future__ import annotations

from typing import Any

from django.core.mail import EmailMultiAlternatives


def django_message(letter: dict[str, Any]) -> EmailMultiAlternatives:
    """Compose a letter."""
    made = EmailMultiAlternatives(letter["subject"], letter["text"], letter["from"], [letter["to"]])
    made.attach_alternative(letter["html"], "text/html")
    return made
