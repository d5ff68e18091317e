"""Parts of a step become one checkpoint: metrics that come one by one, and files."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keepsake.integrations.recordable import as_of_now
from keepsake.recording import ending
from keepsake.util.clock import monotonic
from keepsake.util.fork import in_forked_child

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

_all: weakref.WeakSet[Steps] = weakref.WeakSet()


class Steps:
    """Holds back the parts of a step, until they can be recorded together.

    Attributes:
        experiment: the Experiment, once it has begun; None before.
        patience: seconds after which `log` records what it holds back, if no other step comes; None: it waits. It may
            change from one call of `log` to the next.
        lock: held while a value joins the others of its step. Writers that count steps hold it meanwhile.
    """

    experiment: Experiment | None
    patience: float | None

    def hold_nothing(self) -> None:
        """Set what belongs to this process. A forked child does not record what its parent holds back."""
        self.lock = threading.RLock()
        self._pending: tuple[int, dict[str, Any], str | None] | None = None
        self._due = math.inf  # the latest time to record what is held back
        self._timer: threading.Timer | None = None
        self._wakes = math.inf  # when the timer does
        _all.add(self)

    @property
    def held(self) -> tuple[int, Mapping[str, Any]] | None:
        """The step that `log` holds back, and its metrics so far; None if it holds back nothing."""
        pending = self._pending
        return None if pending is None else pending[:2]

    def record(self, metrics: Mapping[str, Any], step: int, path: str | None) -> None:
        """Record a checkpoint."""
        raise NotImplementedError

    def log(self, metrics: Mapping[str, Any], step: int, path: str | os.PathLike[str] | None = None) -> None:
        """Record metrics, or a file, that may be one of several parts of a step. They become one checkpoint.

        The checkpoint is recorded when another step comes, by `flush`, after the patience, or when the run ends.
        """
        if self.experiment is None or not self.experiment.id:
            return  # another process records, and reading a tensor would wait for the GPU
        with self.lock:
            if self._pending is not None and self._pending[0] != step:
                self.flush()
            if self._pending is None:
                self._due = math.inf
            _, before, file = self._pending or (step, {}, None)
            self._pending = (step, {**before, **as_of_now(metrics)}, file if path is None else os.fspath(path))
            if self.experiment.id not in ending.running():
                self.flush()  # the end of this process, such as a worker of a pool that is terminated, would not do it
            elif self.patience is not None:
                self._due = min(self._due, monotonic() + self.patience)
                self._wake(self._due)

    def _wake(self, moment: float) -> None:
        """Have a thread look then. It serves many steps: starting a thread for each would cost more than recording."""
        if self._timer is not None and self._wakes <= moment:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes = threading.Timer(moment - monotonic(), self._look), moment
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:  # the interpreter ends, or there are too many threads
            self._timer = None
            self.flush()

    def _look(self) -> None:
        with self.lock:
            self._timer = None
            if self._pending is not None and self._due <= monotonic():
                self.flush()
            elif self._pending is not None:
                self._wake(self._due)

    def attach(self, path: str, metrics: Mapping[str, Any], step: int) -> None:
        """Add a file, and metrics that are not known otherwise, to the checkpoint that `log` holds back.

        `step` is its step if there is none. The first file of a checkpoint counts.
        """
        with self.lock:
            step, known, file = self._pending or (step, {}, None)
            self.log({name: value for name, value in metrics.items() if name not in known}, step, file or path)

    def flush(self) -> None:
        """Record what `log` holds back."""
        with self.lock:
            pending, self._pending = self._pending, None
            if pending is not None:
                step, metrics, path = pending
                self.record(metrics, step, path)

    def stop_holding(self) -> None:
        """Record what is held back, and let the timer go."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@in_forked_child
def _after_fork() -> None:
    for steps in list(_all):
        steps.hold_nothing()
