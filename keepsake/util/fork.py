"""What a fork must leave right: what a child starts anew, and imports in the background, which no fork cuts in two.

A module's import lock is not reset in a forked child (CPython resets only the global one). If a thread of ours is just
importing a module when a DataLoader forks its workers, a worker that imports it too waits for ever.
"""

from __future__ import annotations

# A fork takes logging's lock too, as do modules that make their loggers while they are imported. What is registered
# last is called first. So logging is imported before our lock is registered, and the two are always taken in one order
import logging  # noqa: F401
import os
import threading
from collections.abc import Callable

importing = threading.RLock()  # held by what imports in a background thread, and by every fork

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=importing.release)


def in_forked_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call the decorated function in each process that is forked from this one, before anything else runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
