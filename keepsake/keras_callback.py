"""The Keras callback under the name that it has in Keepsake 0.4.2."""

from keepsake.integrations.keras import KeepsakeCallback

__all__ = ["KeepsakeCallback"]
