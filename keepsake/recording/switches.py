"""What environment variables say about recording."""

from __future__ import annotations

import os


def is_strict() -> bool:
    """Whether failures raise errors (KEEPSAKE_STRICT=1), for tests and pipelines."""
    return os.environ.get("KEEPSAKE_STRICT", "") not in ("", "0")


def is_offline() -> bool:
    """Whether to record only on this machine until `keepsake sync` (KEEPSAKE_OFFLINE=1)."""
    return os.environ.get("KEEPSAKE_OFFLINE", "") not in ("", "0")


def is_capturing() -> bool:
    """Whether what runs print is kept unless they say otherwise (KEEPSAKE_CAPTURE_OUTPUT=1)."""
    return os.environ.get("KEEPSAKE_CAPTURE_OUTPUT", "") not in ("", "0")
