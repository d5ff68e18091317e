"""The callback for Ray Tune, under a short name."""

from keepsake.integrations.ray_tune import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
