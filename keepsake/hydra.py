"""The callback for Hydra, under a short name."""

from keepsake.integrations.hydra import KeepsakeCallback, experiment

__all__ = ["KeepsakeCallback", "experiment"]
