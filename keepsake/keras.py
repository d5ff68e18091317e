"""The callback for Keras, under a short name."""

from keepsake.integrations.keras import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
