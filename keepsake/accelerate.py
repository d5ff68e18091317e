"""The tracker for Accelerate, under a short name."""

from keepsake.integrations.accelerate import KeepsakeTracker

__all__ = ["KeepsakeTracker"]
