"""The threads that save to one repository, one per step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from keepsake.recording.job import STEPS, Step
from keepsake.util.clock import monotonic
from keepsake.util.loop import Loop

REFUSED_SECONDS = 5.0  # the pause after the system refused a thread
_FIRST_SECONDS = 0.05  # the first thread runs alone that long, so init() waits for the start of one only


class Lane:
    """Threads that call `turn` with their step. The saver's lock guards it.

    Attributes:
        loops: the thread of each step.
        whole_from: the monotonic time from which all threads are to run.
    """

    def __init__(self, turn: Callable[[Step], bool]) -> None:
        self._turn = turn
        self.loops = {step: self._loop(step) for step in STEPS}
        self.whole_from = 0.0
        self._refused_until = 0.0

    def _loop(self, step: Step) -> Loop:
        return Loop(f"keepsake-{step}", partial(self._turn, step))

    def renew(self, step: Step) -> None:
        """Make a new thread for a step, to be started when it is needed. The present one does no more steps."""
        self.loops[step] = self._loop(step)

    def start_with(self, task: Callable[[], bool]) -> bool:
        """Start the first thread with `task`, as `Loop.start` does; return False if it runs already, or cannot start.

        So init() need not start a thread of its own to send something.
        """
        first = self.loops[STEPS[0]]
        if first.runs or not first.start(task):
            return False
        self.whole_from = monotonic() + _FIRST_SECONDS
        return True

    def start(self, *, at_once: bool) -> bool:
        """Start the threads, and restart dead ones; return False if the system refuses one.

        Unless `at_once`, only the first starts now. A later call starts the others.
        """
        missing = [loop for loop in self.loops.values() if not loop.runs]
        now = monotonic()
        if not missing or now < self._refused_until:
            return not missing
        if len(missing) == len(self.loops):
            self.whole_from = now + _FIRST_SECONDS
            missing = missing if at_once else missing[:1]
        elif not at_once and now < self.whole_from:
            return True
        if not all(loop.start() for loop in missing):
            self._refused_until = now + REFUSED_SECONDS
            return False
        return True
