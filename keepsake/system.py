"""An import path of Keepsake 0.4.2, for scripts that use it."""

from keepsake.recording.environment import python_version as get_python_version

__all__ = ["get_python_version"]
