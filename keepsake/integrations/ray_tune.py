"""A callback for Ray Tune that records each trial: `RunConfig(callbacks=[KeepsakeCallback()])`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from keepsake.exceptions import MissingExtra
from keepsake.integrations.recordable import flat
from keepsake.integrations.recorder import Primary, Recorder, TrialFailed

try:
    from ray.tune.logger import LoggerCallback
except ImportError as error:
    if str(error.name).partition(".")[0] != "ray" and "ray[" not in str(error):
        raise  # a package that Ray needs is broken
    raise MissingExtra("keepsake.ray needs Ray Tune. Install it with:\n    pip install 'ray[tune]'") from error

# What Ray adds to each result, which is not measured by the trial
_OF_RAY = (
    "checkpoint_dir_name", "config", "date", "done", "episodes_total", "experiment_id", "experiment_tag", "hostname",
    "iterations_since_restore", "node_ip", "pid", "should_checkpoint", "time_since_restore", "timestamp",
    "timesteps_since_restore", "timesteps_total", "training_iteration", "trial_id",
)  # fmt: skip


class KeepsakeCallback(LoggerCallback):  # type: ignore[misc]
    """Records each trial as an experiment, from the process that tunes.

    The params are the trial's config, nested ones under names with dots. Each result is a checkpoint; its step is
    Ray's `training_iteration`. The name is Ray's name of the trial. A trial that fails shows as failed; one that is
    started again, by `max_failures` or `Tuner.restore()`, goes on with its run. Where a scheduler changes the config of
    a trial on the way, as population based training does, what it changed is a metric: `config.lr`.

    Args:
        params: further hyperparameters, the same for each trial.
        primary_metric: one of the metrics and its goal, such as `("loss", "minimize")`. Ray does not tell callbacks
            the `metric` and `mode` of `TuneConfig`.
        save_best_only: save the files only if the primary metric is better than in all earlier results.
        save_files: whether to save the checkpoints that the trial reports. They must lie in the project directory:
            `RunConfig(storage_path=…)`. Others are left out.
        **options: further arguments of `keepsake.init()`, such as `tags` and `path` (default: ".").

    An error is reported once per cause, and does not end the search.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        save_best_only: bool = False,
        save_files: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self._params = params
        self._primary_metric = primary_metric
        self._save_best_only = save_best_only
        self._save_files = save_files
        self._options = {"quiet": True, **options}
        self._reporter: Recorder | None = None  # says once what could not be recorded
        self._recorders: dict[str, Recorder] = {}
        self._configs: dict[str, dict[str, Any]] = {}  # trial → its config when it began
        self._experiments: dict[str, str] = {}  # trial → experiment, also those of a search that is restored
        self._failures: dict[str, int] = {}

    def log_trial_start(self, trial: Any) -> None:
        """Begin the experiment of a trial, or go on with it."""
        self._attempt(partial(self._start, trial))

    def log_trial_result(self, iteration: int, trial: Any, result: Mapping[str, Any]) -> None:
        """Record a result, with the files of its checkpoint."""
        self._attempt(partial(self._result, trial, result))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End the experiment of a trial."""
        self._attempt(partial(self._end, trial.trial_id, _failure(trial.trial_id) if failed else None))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """End the experiments of trials that have not ended: an error or a signal has ended the search."""
        error = sys.exc_info()[1] or KeyboardInterrupt()
        for id in list(self._recorders):
            self._attempt(partial(self._end, id, error))

    def get_state(self) -> dict[str, Any]:
        """Return the experiment and the first config of each trial. Ray saves this with the state of the search."""
        return {"experiments": dict(self._experiments), "configs": dict(self._configs)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned in the process before."""
        self._experiments, self._configs = dict(state["experiments"]), dict(state["configs"])

    def _start(self, trial: Any) -> None:
        id = trial.trial_id
        has_failed = trial.num_failures > self._failures.get(id, 0)
        self._failures[id] = trial.num_failures
        if id in self._recorders:
            if not has_failed:
                return  # it was paused
            self._end(id, _failure(id))
        options = {"name": str(trial), **self._options}
        recorder = Recorder(self._params, self._primary_metric, self._save_best_only, options)
        config = self._configs.setdefault(id, flat(trial.config))
        recorder.begin(config, resume=self._experiments.get(id), is_trial=True)
        self._recorders[id] = recorder
        if recorder.experiment is not None:
            self._experiments[id] = recorder.experiment.id

    def _result(self, trial: Any, result: Mapping[str, Any]) -> None:
        if (recorder := self._recorders.get(trial.trial_id)) is None:
            return
        metrics = flat({name: value for name, value in result.items() if name not in _OF_RAY})
        config, first = flat(result.get("config", {})), self._configs[trial.trial_id]
        metrics |= {f"config.{name}": value for name, value in config.items() if value != first.get(name)}
        path = self._files(trial, result) if self._save_files else None
        recorder.record(metrics, result.get("training_iteration"), path)

    def _files(self, trial: Any, result: Mapping[str, Any]) -> str | None:
        """Return the directory of the checkpoint that a result came with, if it is one of this project."""
        name = result.get("checkpoint_dir_name")
        experiment = self._recorders[trial.trial_id].experiment
        if not name or experiment is None or trial.storage is None:
            return None
        directory = os.path.join(trial.storage.trial_fs_path, name)
        project = os.path.realpath(experiment.project.directory or ".")
        is_here = os.path.realpath(directory).startswith(project + os.sep) and os.path.isdir(directory)
        return directory if is_here else None

    def _end(self, id: str, error: BaseException | None) -> None:
        if (recorder := self._recorders.pop(id, None)) is not None:
            recorder.end_of_training()
            if error is not None:
                recorder.blame(error)
            recorder.stop()

    def _attempt(self, action: Any) -> None:
        self._reporter = self._reporter or Recorder()
        self._reporter.attempt("A trial is not recorded", action)

    def __getstate__(self) -> dict[str, Any]:
        """Return what Ray pickles with the configuration of a search, for `Tuner.restore()`."""
        return {**vars(self), "_reporter": None, "_recorders": {}}


def _failure(id: str) -> TrialFailed:
    return TrialFailed(f"Trial {id} failed. Ray's log has the error.")
