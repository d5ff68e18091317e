"""An import path of Keepsake 0.4.2, for scripts that use it."""

from keepsake.util.console import error, warn
from keepsake.util.console import say as info

__all__ = ["error", "info", "warn"]
