"""What environment variables say about recording."""

from __future__ import annotations

import os


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def is_strict() -> bool:
    """Whether failures raise errors (KEEPSAKE_STRICT=1), for tests and pipelines."""
    return _is_on("KEEPSAKE_STRICT")


def is_offline() -> bool:
    """Whether to record only on this machine until `keepsake sync` (KEEPSAKE_OFFLINE=1)."""
    return _is_on("KEEPSAKE_OFFLINE")


def is_capturing() -> bool:
    """Whether what runs print is kept unless they say otherwise (KEEPSAKE_CAPTURE_OUTPUT=1)."""
    return _is_on("KEEPSAKE_CAPTURE_OUTPUT")


def is_verbose() -> bool:
    """Whether to print a line for each checkpoint (KEEPSAKE_VERBOSE=1)."""
    return _is_on("KEEPSAKE_VERBOSE")
