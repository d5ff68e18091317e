"""The callback for XGBoost, under a short name."""

from keepsake.integrations.xgboost import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
