"""Warnings that are said once."""

from __future__ import annotations

from keepsake.util.console import warn

_said: set[str] = set()


def say_once(kind: str, message: str) -> None:
    """Warn, once per kind and process."""
    if kind not in _said:
        _said.add(kind)
        warn(message)
