"""Entry points that frameworks call in every program. Without KEEPSAKE_AUTO=1, they load and do nothing."""

from __future__ import annotations

import os
from typing import Any


def lightning_callbacks() -> list[Any]:
    """Return the callbacks that Lightning adds to every Trainer."""
    if os.environ.get("KEEPSAKE_AUTO", "") in ("", "0"):
        return []
    from keepsake.integrations.lightning import AutoCallback

    return [AutoCallback()]
