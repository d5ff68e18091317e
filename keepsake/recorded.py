"""What a script calls on the experiment that it records: checkpoint() and stop().

Modules that record are imported by these calls, because reading experiments need not wait for them. In a script,
`import keepsake` has loaded them.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from keepsake.checkpoint import Checkpoint, InertCheckpoint
from keepsake.checks import MAX_STEP
from keepsake.exceptions import KeepsakeError, ValidationError, WriteError
from keepsake.labelled import Labelled
from keepsake.metadata import Record, later
from keepsake.recording import ranks, switches
from keepsake.util.console import error as say_error
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.experiment import Experiment
    from keepsake.project import Project
    from keepsake.recording.complaints import Problem
    from keepsake.recording.run import Run

_R = TypeVar("_R", bound="Recorded")


class Recorded(Labelled):
    """The part of an experiment that records. Nothing in it raises into a training loop."""

    _project: Project | None

    def to_json(self) -> Record:
        """Return the experiment as on disk."""
        raise NotImplementedError

    def __enter__(self: _R) -> _R:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._is_inert() and not sys.is_finalizing():
            blame(self, error)
        self.stop()

    def checkpoint(
        self,
        path: str | os.PathLike[str] | None = None,
        step: int | None = None,
        metrics: Mapping[str, Any] | None = None,
        primary_metric: tuple[str, str] | None = None,
        quiet: bool = False,
        **more_metrics: Any,
    ) -> Checkpoint | None:
        """Record a checkpoint, and save the files at `path` as they are now.

        Args:
            path: a file or directory of the project, relative to the project directory or absolute; None: no files.
            step: the iteration; None: one more than the last, from 0.
            metrics: name → value: numbers, strings, lists, dicts, None, and values of NumPy and the frameworks.
            primary_metric: the metric to optimize and its goal, such as `("loss", "minimize")`.
            quiet: print no line for it, even with KEEPSAKE_VERBOSE=1 or `debug`.
            **more_metrics: further metrics.

        Returns:
            The checkpoint, with everything that could be recorded; None if nothing could. Warnings on stderr name the
            rest, once per cause, and the end of the experiment sums them up. The call never raises into a training loop
            (except with KEEPSAKE_STRICT=1). It waits for one local copy of the files, and never for a network. Files
            may be changed as soon as it returns. In a process that does not record, because another one of its job
            does, the checkpoint has an empty ID.
        """
        if self._is_too_late("A checkpoint"):
            return None
        try:
            return self._checkpoint(path, step, metrics, primary_metric, quiet, more_metrics)
        except Exception as error:  # noqa: BLE001 - nothing else raises into a training loop
            from keepsake.recording.signals import let_through

            let_through(error)
            reason = _reason(error)
            if self._run is None:
                say_error(f"The checkpoint was not saved: {reason}")
            else:
                from keepsake.recording.complaints import WHOLE, Problem

                self._run.complaints.add(Problem(WHOLE, reason))
            if self._project is not None and self._project.debug:
                traceback.print_exc(file=sys.stderr)
            return None

    def _checkpoint(
        self,
        path: str | os.PathLike[str] | None,
        step: int | None,
        metrics: Mapping[str, Any] | None,
        primary_metric: object,
        quiet: bool,
        more_metrics: dict[str, Any],
    ) -> Checkpoint:
        if self._is_inert():
            from keepsake.recording.records import inert_record

            record = inert_record(path, step, metrics, primary_metric, more_metrics, self._next_step())
            self.checkpoints.append(InertCheckpoint.from_json(record, self._as_experiment()))
            return self.checkpoints[-1]
        from keepsake.recording.records import checkpoint_record
        from keepsake.recording.run import Run

        directory = None if path is None else self.project.workplace.directory
        record, problems = checkpoint_record(path, step, metrics, primary_metric, more_metrics, directory)
        if self.checkpoints:  # the clock may have been set back, and the order decides which one is the latest
            record["created"] = later(record["created"], self.checkpoints[-1].created_text())
        if problems and switches.is_strict():
            for problem in problems:
                if problem.is_error:
                    raise ValidationError(problem.why)
        if self._run is None:
            self._run = Run.join(self.project.workplace, self.to_json())
        run = self._run
        made: list[Checkpoint] = []

        def keep() -> None:
            made.append(Checkpoint.from_json(record, self._as_experiment()))
            self.checkpoints.extend(made)
            if gone := run.replaced_by(record):
                self.checkpoints[:] = [checkpoint for checkpoint in self.checkpoints if checkpoint.id not in gone]

        self._add(run, record, problems, keep)
        if not quiet and (self.project.debug or switches.is_verbose()):
            from keepsake.recording.announcing import say_copying

            say_copying("checkpoint", record, self.project.workplace)
        return made[0]

    def _add(self, run: Run, record: Record, problems: list[Problem], keep: Callable[[], None]) -> None:
        """Save a checkpoint, or at least its metrics if its files have taken the last space of the disk."""
        try:
            try:
                run.add(record, problems, self._next_step, keep)
            except WriteError as error:
                if not record["path"] or switches.is_strict():
                    raise
                from keepsake.recording.complaints import Problem

                record["path"] = ""
                run.add(record, [*problems, Problem("its files", str(error))], self._next_step, keep)
        except BaseException:  # such as Ctrl-C right after its files were frozen; the mover checks what is written
            run.entry.abandoned.add(record["id"])
            raise

    def _as_experiment(self) -> Experiment:
        return cast("Experiment", self)  # nothing else has this class as a base

    def _is_inert(self) -> bool:
        """Whether another process of the job records what this one would."""
        return self._run is None and not ranks.records()

    def _next_step(self) -> int:
        return min((self.checkpoints[-1].step or 0) + 1, MAX_STEP) if self.checkpoints else 0

    def stop(self) -> None:
        """End the experiment. It shows as stopped at once, and everything is saved before this returns.

        The end of a script does the same. In a notebook, call it. It never raises into a script (except with
        KEEPSAKE_STRICT=1). A message reports unsaved parts, which stay safe in the spool.
        """
        self._heartbeats = None
        try:
            if self._is_inert() or sys.is_finalizing():  # the end of the program has ended its runs
                return
            if self._run is None:
                self.project.workplace.repository.heartbeats.end(self.id)
                return
            error = self._run.stop()
            self._record = {**self._record, **self._run.found, **self._run.ending}
            if error is not None:
                raise error
        except Exception as error:  # noqa: BLE001 - nothing else raises into a training loop
            from keepsake.recording.signals import let_through

            let_through(error)
            is_told = isinstance(error, KeepsakeError) and error.is_told
            reason = ". The reason is given above." if is_told else f": {_reason(error)}"
            say_error(f"Experiment {short_id(self.id)} is not fully saved yet{reason}")


def blame(experiment: Recorded, error: BaseException) -> None:
    """Record that an error ends a run of this process. A trial that Optuna prunes has not failed: a tag says so."""
    from keepsake.recording import ending

    if type(error).__name__ == "TrialPruned":
        experiment.tag("pruned")
    else:
        ending.blame(experiment.id, error)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, KeepsakeError) else f"{type(error).__name__}: {error}"
