"""The callback and the logger for Lightning, under a short name."""

from keepsake.integrations.lightning import KeepsakeCallback, KeepsakeLogger

__all__ = ["KeepsakeCallback", "KeepsakeLogger"]
