"""A module in the shape of W&B's, under a short name: `import keepsake.wandb as wandb`."""

from __future__ import annotations

from typing import Any

from keepsake.integrations import wandb as _wandb
from keepsake.integrations.wandb import *  # noqa: F403
from keepsake.integrations.wandb import __all__ as __all__


def __getattr__(name: str) -> Any:
    """Return the run that is open, its config or its summary."""
    return getattr(_wandb, name)
