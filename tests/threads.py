"""Replacing a function in a test for one thread alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def in_this_thread(replacement: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is `replacement` in the calling thread, and `real` in all others.

    Runs of earlier tests may still have threads, such as those that beat, which call the same function.
    """
    own = threading.get_ident()

    def call(*arguments: Any, **named: Any) -> Any:
        return (replacement if threading.get_ident() == own else real)(*arguments, **named)

    return call
