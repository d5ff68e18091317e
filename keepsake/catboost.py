"""The callback for CatBoost, under a short name."""

from keepsake.integrations.catboost import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
