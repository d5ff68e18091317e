"""How IDs are shown to a person."""

from __future__ import annotations

SHORT_ID_LENGTH = 7


def short_id(id: str) -> str:
    """Return the first digits of an ID, enough for a person to tell it from others."""
    return id[:SHORT_ID_LENGTH]
