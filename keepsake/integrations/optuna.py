"""A callback for Optuna: `study.optimize(…, callbacks=[KeepsakeCallback()])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepsake.integrations.recorder import Recorder


class TrialPruned(Exception):
    """Why the run of a trial ended that Optuna pruned."""


class TrialFailed(Exception):
    """Why the run of a trial ended that failed. Optuna does not tell callbacks the error."""


_ENDS = {"PRUNED": TrialPruned("The trial was pruned."), "FAIL": TrialFailed("The trial failed.")}


class KeepsakeCallback:
    """Records each trial of a study as an experiment when it ends, in as many processes and threads as there are.

    The params are the trial's, its number (`trial`) and its `state`: complete, pruned or fail. The values that the
    objective reports are checkpoints with their steps; the last checkpoint has the trial's value and `duration` in
    seconds. A trial whose error ends the study (see `catch` of `study.optimize()`) is not recorded, because Optuna calls
    no callback then.

    Args:
        params: further hyperparameters, the same for each trial.
        metric_names: the names of the values; None: those that the study has (`study.set_metric_names`), or else
            `value`, or `value_0` and so on if there are several.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    An error is reported once, and does not end the study. An objective that records its runs itself, by
    `keepsake.init()` or another callback, needs none of this.
    """

    def __init__(
        self, params: Mapping[str, Any] | None = None, metric_names: list[str] | None = None, **options: Any
    ) -> None:
        self._params = params
        self._metric_names = metric_names
        self._options = {"quiet": True, **options}
        self._first = Recorder()

    def __call__(self, study: Any, trial: Any) -> None:
        """Record a trial that has ended. Optuna calls this after each."""
        self._first.attempt("A trial is not recorded", lambda: self._record(study, trial))

    def _record(self, study: Any, trial: Any) -> None:
        state = trial.state.name
        names = self._names(study)
        goals = ["maximize" if direction.name == "MAXIMIZE" else "minimize" for direction in study.directions]
        recorder = Recorder(self._params, (names[0], goals[0]), options=self._options)
        own = {"trial": trial.number, "state": state.lower()}
        if not study.study_name.startswith("no-name-"):  # Optuna's own invention
            own["study"] = study.study_name
        recorder.begin({**own, **trial.params})
        try:
            for step, value in sorted(trial.intermediate_values.items()):
                recorder.log({names[0]: value}, step)
            last = max(trial.intermediate_values, default=-1)
            values = dict(zip(names, trial.values or (), strict=False))
            extra = {**values, "duration": trial.duration.total_seconds()} if trial.duration else values
            # A pruned trial's value is the last one that it reported.
            recorder.log(extra, last if state == "PRUNED" and last >= 0 else last + 1)
            if state in _ENDS:
                recorder.blame(_ENDS[state])
        finally:
            recorder.stop()

    def _names(self, study: Any) -> list[str]:
        count = len(study.directions)
        if names := self._metric_names or study.metric_names:
            return list(names)
        return ["value"] if count == 1 else [f"value_{number}" for number in range(count)]
