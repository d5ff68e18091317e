"""How IDs are shown to the user."""

from __future__ import annotations

SHORT_ID_LENGTH = 7
_SHOWN_IDS = 5


def short_id(id: str) -> str:
    """Return the first digits of an ID, enough to tell it from others at a glance."""
    return id[:SHORT_ID_LENGTH]


def short_repr(what: str, ids: list[str]) -> str:
    """Return how a list shows itself: `<3 checkpoints: 5ffb0f6, 1a2b3c4, 9f02c7d>`, of many the first and the last."""
    shown = ids if len(ids) <= _SHOWN_IDS else [*ids[: _SHOWN_IDS - 2], "…", ids[-1]]
    return f"<{len(ids)} {what}{'' if len(ids) == 1 else 's'}{': ' if ids else ''}{', '.join(shown)}>"
