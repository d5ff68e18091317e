"""The Lightning callback under the name that it has in Keepsake 0.4.2."""

from keepsake.integrations.lightning import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
