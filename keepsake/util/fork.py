"""Imports in the background, which no fork may cut in two.

A module's import lock is not reset in a forked child (CPython resets only the global one). If a thread of ours were
just importing a module when a DataLoader forks its workers, a worker that imports it too would wait for ever.
"""

from __future__ import annotations

# A fork takes logging's lock too, as do modules that make their loggers while they are imported. What was registered
# last is called first: logging comes before us, so that the two locks are always taken in the same order
import logging  # noqa: F401
import os
import threading

importing = threading.RLock()  # held by what imports in a background thread, and by every fork

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=importing.release)
