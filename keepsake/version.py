"""The version of this package, which every experiment records as `keepsake_version`."""

__version__ = "1.0.0"
version = __version__  # the name in Keepsake 0.4.2
