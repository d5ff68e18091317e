"""The callback for LightGBM, under a short name."""

from keepsake.integrations.lightgbm import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
