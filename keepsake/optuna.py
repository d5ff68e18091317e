"""The callback for Optuna, under a short name."""

from keepsake.integrations.optuna import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
