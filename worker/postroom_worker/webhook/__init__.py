"""Webhooks: an application learns what became of its letters, without asking."""
