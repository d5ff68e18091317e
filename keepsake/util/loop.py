"""A background thread that no exception ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from keepsake.util.errors import no_thread_can_start

_PAUSE_SECONDS = 1.0


class Loop:
    """A daemon thread that calls `turn` until it returns False. An exception in `turn` does not end the thread.

    Attributes:
        runs: whether the thread runs. After a fork, the copy in the child says what was true in the parent.
    """

    def __init__(self, name: str, turn: Callable[[], bool]) -> None:
        self._name = name
        self._turn = turn
        self.runs = False

    def start(self, first: Callable[[], bool] = lambda: True) -> bool:
        """Start the thread unless it runs; return whether it runs.

        It calls `first` before its first turn, and ends if that returns False.

        A thread cannot start at the system's or container's limit, or while the interpreter exits.
        """
        if self.runs:
            return True
        thread = threading.Thread(target=self._run, args=(first,), name=self._name, daemon=True)
        try:
            self.runs = True  # before it starts, because it may end at once
            thread.start()
        except BaseException as error:
            self.runs = thread.is_alive()
            if not no_thread_can_start(error):
                raise  # of a signal's handler, such as Ctrl-C
        return self.runs

    def _run(self, first: Callable[[], bool]) -> None:
        self.runs = True  # even if a signal has interrupted `start`
        try:
            goes_on = first()
            while goes_on:
                goes_on = self._takes_turn()
        finally:
            self.runs = False

    def _takes_turn(self) -> bool:
        try:
            return self._turn()
        except BaseException:  # noqa: BLE001 - no error, not even MemoryError, may end the thread
            time.sleep(_PAUSE_SECONDS)
            return True
