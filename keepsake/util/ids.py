"""How IDs are shown to the user."""

from __future__ import annotations

SHORT_ID_LENGTH = 7


def short_id(id: str) -> str:
    """Return the first digits of an ID, enough to tell it from others at a glance."""
    return id[:SHORT_ID_LENGTH]
