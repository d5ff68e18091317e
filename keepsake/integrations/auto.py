"""Entry points that frameworks call in every program. Without KEEPSAKE_AUTO=1, they load and do nothing."""

from __future__ import annotations

from typing import Any

from keepsake.recording.switches import is_on


def lightning_callbacks() -> list[Any]:
    """Return the callbacks that Lightning adds to every Trainer."""
    if not is_on("KEEPSAKE_AUTO"):
        return []
    from keepsake.integrations.lightning import AutoCallback

    return [AutoCallback()]
