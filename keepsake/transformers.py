"""The callback for Hugging Face's Trainer, under a short name."""

from keepsake.integrations.transformers import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
