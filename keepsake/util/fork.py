"""Forks: functions that run in every forked child, and a lock that keeps forks out of background imports.

CPython resets the global import lock in a forked child, but not the locks of modules. Suppose a background thread
imports a module while a DataLoader forks its workers. A worker that imports the same module would wait forever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

importing = threading.RLock()  # held by imports in a background thread, and by every fork


def hold_forks() -> None:
    """Make forks wait while `importing` is held. Call it once, before a background thread imports anything."""
    # A fork also takes the lock of logging, and so do modules that create loggers during import. Hooks that are
    # registered last run first. Importing logging before our lock is registered makes sure that both are always taken
    # in one order.
    import logging  # noqa: F401

    if hasattr(os, "register_at_fork"):
        release = importing.release
        os.register_at_fork(before=importing.acquire, after_in_parent=release, after_in_child=release)


def in_forked_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call the decorated function in each process forked from this one, before anything else runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
