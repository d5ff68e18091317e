"""One run as the callback of a framework records it: what callbacks share."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from keepsake.exceptions import KeepsakeError, MissingExtra
from keepsake.experiment import Experiment
from keepsake.integrations.pruning import is_pruned, surrounding_trial
from keepsake.integrations.recordable import recordable
from keepsake.integrations.steps import Steps
from keepsake.project import default_project, init
from keepsake.recorded import blame
from keepsake.recording import ending, ranks, switches
from keepsake.util.console import warn
from keepsake.util.directories import below
from keepsake.util.ids import short_id
from keepsake.util.values import mapping_of

Primary = tuple[str, str]
_LOCK_SECONDS = 1.0

# The experiment of the job that runs, if there is one: the first recorder in it adds to that instead of beginning one
job: Experiment | None = None


class _Trained(threading.local):
    """Those whose trainings have ended in this thread: the next training in it, with any callback, ends them."""

    def __init__(self) -> None:
        self.experiments: list[Experiment] = []


_trained = _Trained()


class Recorder(Steps):
    """Begins an experiment, and records checkpoints in it. After the beginning, nothing here raises into a training.

    Args:
        params: the user's hyperparameters. They are recorded with those of the framework, and override them.
        primary_metric: one of the metrics and its goal, such as `("loss", "minimize")`; None: `begin` names one.
        save_best_only: record files only with a checkpoint that is better than all before.
        options: further arguments of `keepsake.init()`. `path` is the project directory by default.
        patience: seconds after which `log` records what it holds back, if no other step comes; None: it waits.

    Attributes:
        experiment: the Experiment, once it has begun; None before.
        primary_metric: the primary metric that counts.
        at_end: called before the run ends, to log what is only known then; None: nothing is.
    """

    def __init__(
        self,
        params: object = None,
        primary_metric: Primary | None = None,
        save_best_only: bool = False,
        options: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> None:
        self.primary_metric = self._given_metric = primary_metric
        self.save_best_only = save_best_only
        self._params = params
        self._options = {"path": ".", **(options or {})}
        self.patience = patience
        self._reset()

    def _reset(self) -> None:
        """Set what belongs to one training in this process. A copy has its own."""
        self._best = math.nan
        self._names: set[str] = set()
        self.experiment: Experiment | None = None
        self.at_end: Callable[[], object] | None = None
        self._said: set[str] = set()
        self._is_guest = False  # in the experiment of the job
        self.hold_nothing()

    # Copies. Frameworks pickle callbacks for their workers, and scripts copy a model with its trainer and callbacks.

    def __getstate__(self) -> dict[str, Any]:
        given = "primary_metric", "_given_metric", "save_best_only", "patience", "_params", "_options"
        return {name: vars(self)[name] for name in given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    # The beginning and the end

    def begin(
        self,
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        resume: str | None = None,
        *,
        is_trial: bool = False,
    ) -> None:
        """Begin an experiment. Earlier ones end: that of this recorder, and those whose trainings have ended.

        Raises what `keepsake.init()` raises.

        Args:
            params: hyperparameters that the framework knows.
            primary_metric: the one that counts if the user named none.
            resume: the ID of the experiment whose training is resumed. It goes on. If it has ended normally, or
                this process still records it, it becomes the parent of a new one.
            is_trial: whether it is one of many, which do not add to the experiment of the job that runs.
        """
        self.stop()
        while _trained.experiments:
            if (trained := _trained.experiments.pop()).id in ending.running():
                trained.stop()
        self.primary_metric = self._given_metric or primary_metric
        self._names.clear()
        self._best = math.nan
        if is_trial or not self._join_job():
            self._init(params, resume)
        if self.experiment is not None and self.experiment.id:
            ending.before_end(self.experiment.id, self._flush_at_end)
            if not is_trial and (trial := surrounding_trial()) is not None:
                ending.before_end(self.experiment.id, partial(_tag_pruned, self.experiment, trial))

    def _init(self, params: Mapping[str, Any] | None, resume: str | None) -> None:
        own = {} if self._params is None else mapping_of(self._params, "params")
        earlier = {} if resume is None else _going_on(resume)
        given = {**recordable(params or {}), **own} or None  # without any, a run that goes on keeps its own
        self.experiment = init(params=given, **{**earlier, **self._options})
        if self.experiment.checkpoints and (best := self.experiment.best()):
            self.improves(best.metrics or {})

    def _join_job(self) -> bool:
        global job
        self._is_guest = job is not None
        if job is not None:
            self.experiment, job = job, None
            if self.experiment.id:
                self.attempt("Params and labels were not recorded", partial(self._add_to_job, self.experiment))
        return self._is_guest

    def _add_to_job(self, experiment: Experiment) -> None:
        """Add what the user gave for this training. The job's own name and notes stay."""
        if self._params is not None:
            experiment.update_params(mapping_of(self._params, "params"))
        if (tags := self._options.get("tags")) is not None:
            experiment.tag(*([tags] if isinstance(tags, str) else tags))
        if (name := self._options.get("name")) and not experiment.name:
            experiment.rename(name)
        if (notes := self._options.get("notes")) and not experiment.notes:
            experiment.note(notes)

    def stop(self) -> None:
        """Record what is held back, and end the experiment, if this has begun one."""
        self.stop_holding()
        if self.experiment is not None and not self._is_guest:
            self.experiment.stop()
        self.experiment = None

    def blame(self, error: BaseException) -> None:
        """Record that an error ends the run. The program may go on after it."""
        if self.experiment is not None and self.experiment.id in ending.running():
            blame(self.experiment, error)

    def terminate(self) -> None:
        """Record that a signal ends the run. The trainer has taken it, and ends in its own way."""
        if self.experiment is not None:
            ending.terminate(self.experiment.id)

    def forgive(self) -> None:
        """Take back the error that `blame` recorded, because the run goes on after it."""
        if self.experiment is not None:
            ending.forgive(self.experiment.id)

    def end_of_training(self) -> None:
        """Record what is held back. Warn if no checkpoint had the primary metric that the user named."""
        self.flush()
        if self.experiment is not None:
            ending.watch()  # a trainer that had taken a signal has let go of it
        self.may_end()
        given = self._given_metric
        if self._names and given and given[0] not in self._names:
            names = ", ".join(sorted(self._names))
            warn(f"No checkpoint has the primary metric {given[0]!r}. The metrics of this training are: {names}.")

    def may_end(self) -> None:
        """Let the next training end the experiment. Some frameworks do not say that a training has ended."""
        if self.experiment is not None and not self._is_guest:
            _trained.experiments.append(self.experiment)

    # Checkpoints

    def record(
        self,
        metrics: Mapping[str, Any],
        step: int | None = None,
        path: str | os.PathLike[str] | None = None,
        save: Callable[[], object] | None = None,
    ) -> None:
        """Record a checkpoint.

        Args:
            metrics: name → value.
            step: the iteration; None: one more than the last.
            path: a file or directory to save.
            save: makes the file at `path`. It is called only if the file is wanted.
        """
        if self.experiment is None:
            return
        self._names |= metrics.keys()
        is_best = self.improves(metrics)
        if path is not None and self.save_best_only and not is_best:
            path = None
        if path is not None and save is not None and not self.attempt("The model was not saved", save):
            path = None
        primary = self.primary_metric
        if primary and primary[0] not in metrics:
            primary = None
        # A line for each checkpoint would break a progress bar.
        self.experiment.checkpoint(
            path=self._in_project(path), step=step, metrics=metrics, primary_metric=primary, quiet=True
        )

    def _flush_at_end(self) -> None:
        """Do the same when the run ends. A signal may have interrupted a thread that the lock's owner waits for."""
        if self.lock.acquire(timeout=_LOCK_SECONDS):
            try:
                if self.at_end is not None:
                    self.attempt("The end of a run was not recorded", self.at_end)
                self.flush()
            finally:
                self.lock.release()

    def attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do something that may fail, and return whether it was done.

        An error is reported once per cause, by one process of the job: it usually comes in all of them.
        """
        try:
            action()
        except Exception as error:
            if switches.is_strict():
                raise
            why = f"{type(error).__name__}: {str(error).rstrip('.')}"
            if (type(error).__name__ + what) not in self._said:
                self._said.add(type(error).__name__ + what)
                if ranks.records():
                    warn(f"{what}: {why}. The training goes on.")
            return False
        return True

    def improves(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether the primary metric is better than ever before, and remember it then."""
        if self.primary_metric is None:
            return False
        name, goal = self.primary_metric
        try:
            value = float(metrics[name])
        except (KeyError, TypeError, ValueError):
            return False
        best = self._best
        is_better = value > best if str(goal).lower().startswith("max") else value < best
        if is_better or (math.isnan(best) and not math.isnan(value)):
            self._best = value
            return True
        return False

    def _in_project(self, path: str | os.PathLike[str] | None) -> str | None:
        """Return a path relative to the project directory, as checkpoint() wants it."""
        if path is None or self.experiment is None:
            return None
        return below(path, str(self.experiment.project.directory)) or os.fspath(path)


def _tag_pruned(experiment: Experiment, trial: Any) -> None:
    if not ending.is_signalled() and is_pruned(trial):  # the study has locks of its own
        experiment.tag("pruned")


@contextmanager
def needing(module: str, framework: str, package: str) -> Iterator[None]:
    """Say how to install a framework if the block cannot import it. A package that is missing to it is its own error.

    Args:
        module: the name under which the framework is imported.
        framework: its name for people.
        package: what `pip install` calls it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != module:
            raise
        raise MissingExtra(
            f"keepsake.{module} needs {framework}. Install it with:\n    pip install {package}"
        ) from error


class TrialFailed(Exception):
    """Why the run of a failed trial ended. Frameworks that search do not tell callbacks the error."""


class HasExperiment:
    """The part of a callback that shows the experiment of its recorder."""

    _recorder: Recorder

    @property
    def experiment(self) -> Experiment | None:
        """The Experiment, once training has begun."""
        return self._recorder.experiment


def _going_on(experiment_id: str) -> dict[str, str]:
    """Return the arguments of init() with which a resumed training goes on."""
    try:
        experiment = default_project.experiments.get(experiment_id)
    except KeepsakeError as error:  # it was deleted, or recorded in another repository
        warn(f"Experiment {short_id(experiment_id)} cannot go on, so this training is a new run. {error}")
        return {}
    is_done = experiment.end_reason in ("finished", "stopped") or experiment_id in ending.running()
    return {"parent" if is_done else "resume": experiment_id}
