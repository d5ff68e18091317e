"""A callback for Optuna: `study.optimize(…, callbacks=[KeepsakeCallback()])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepsake.integrations.recorder import Recorder, TrialFailed


class KeepsakeCallback:
    """Records each trial of a study as an experiment when it ends, in as many processes and threads as there are.

    The params are the trial's. The name tells the study and the number of the trial. A trial that was pruned has the
    tag `pruned`, one that failed shows as failed. The values that the objective reports are checkpoints with their
    steps; the last checkpoint has the trial's value and `duration` in seconds. Optuna calls no callback for an error
    that ends the study, so that trial is not recorded: see `catch` of `study.optimize()`.

    Args:
        params: further hyperparameters, the same for each trial.
        metric_names: the names of the values; None: those that the study has (`study.set_metric_names`), or else
            `value`, or `value_0` and so on if there are several.
        **options: further arguments of `keepsake.init()`, such as `tags` and `path` (default: ".").

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
        tags = self._options.get("tags") or []
        tags = [tags] if isinstance(tags, str) else list(tags)
        tags += ["pruned"] if state == "PRUNED" else []
        options = {"name": _name(study, trial), **self._options, "tags": tags}
        recorder = Recorder(self._params, (names[0], goals[0]), options=options)
        recorder.begin(trial.params, is_trial=True)
        try:
            for step, value in sorted(trial.intermediate_values.items()):
                recorder.log({names[0]: value}, step)
            last = max(trial.intermediate_values, default=-1)
            values = dict(zip(names, trial.values or (), strict=False))
            extra = {**values, "duration": trial.duration.total_seconds()} if trial.duration else values
            # A pruned trial's value is the last one that it reported.
            recorder.log(extra, last if state == "PRUNED" and last >= 0 else last + 1)
            if state == "FAIL":
                recorder.blame(TrialFailed(f"Trial {trial.number} failed. Optuna's log has the error."))
        finally:
            recorder.stop()

    def _names(self, study: Any) -> list[str]:
        count = len(study.directions)
        names = list(self._metric_names or study.metric_names or ())
        others = ["value"] if count == 1 else [f"value_{number}" for number in range(count)]
        return names + others[len(names) :]


def _name(study: Any, trial: Any) -> str:
    is_named = not study.study_name.startswith("no-name-")  # Optuna's own invention
    return f"{study.study_name} {trial.number}" if is_named else f"trial {trial.number}"
