"""A background thread that no exception ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE_SECONDS = 1.0


class Loop:
    """A daemon thread that calls `turn` until it returns False. An exception in `turn` does not end the thread."""

    def __init__(self, name: str, turn: Callable[[], bool]) -> None:
        self._name = name
        self._turn = turn
        self._thread: threading.Thread | None = None

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it runs.

        A thread cannot start at the system's or container's limit, or while the interpreter exits.
        """
        if self.is_alive():
            return True
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            try:
                if not self._turn():
                    return
            except BaseException:  # noqa: BLE001 - no error, not even MemoryError, may end the thread
                time.sleep(_PAUSE_SECONDS)
