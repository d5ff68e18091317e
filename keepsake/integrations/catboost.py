"""A callback for CatBoost: `model.fit(…, callbacks=[callback])`, and `callback.save()` after it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from keepsake.integrations.recorder import HasExperiment, Primary, Recorder


class KeepsakeCallback(HasExperiment):
    """Begins an experiment when training begins, and records a checkpoint for each iteration.

    The metrics are named `DATA_METRIC`, such as `validation_RMSE`. CatBoost shows its callbacks neither the params nor
    the model. So give the model, and call `save()` after `fit()`.

    Args:
        model: the model that is trained, for its params.
        filepath: the file for the model, relative to the project directory, which must be the working directory.
        params: further hyperparameters.
        primary_metric: one of the metrics and its goal; None: the first metric of the last data set, which is the one
            that CatBoost optimizes.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Attributes:
        experiment: the Experiment, once training has begun. The next training ends it. In a notebook, call
            `experiment.stop()` at the end.
    """

    def __init__(
        self,
        model: Any = None,
        filepath: str | os.PathLike[str] = "model.cbm",
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        **options: Any,
    ) -> None:
        self.model = model
        self.filepath = os.fspath(filepath)
        self._recorder = Recorder(params, primary_metric, options=options)
        self._history: list[dict[str, float]] = []  # the metrics of each iteration
        self._measured: dict[tuple[str, str], int] = {}  # data and metric → how often it was measured

    def after_iteration(self, info: Any) -> bool:
        """Record a checkpoint; its step is the iteration, from 0."""
        if info.iteration == 1 or self.experiment is None:
            self._recorder.begin({} if self.model is None else self.model.get_params())
            self._history.clear()
            self._measured.clear()
        metrics = {}
        for data, history in info.metrics.items():
            for name, values in history.items():
                if len(values) > self._measured.get((data, name), 0):  # not each iteration measures (`metric_period`)
                    self._measured[data, name] = len(values)
                    metrics[f"{data}_{name}"] = values[-1]
        if info.metrics and self._recorder.primary_metric is None:
            data, history = list(info.metrics.items())[-1]
            name = next(iter(history))
            self._recorder.primary_metric = (f"{data}_{name}", _goal(name))
        self._history.append(metrics)
        if metrics:
            self._recorder.log(metrics, info.iteration - 1)
        return True

    def save(self) -> None:
        """Save the model as `fit()` leaves it: with the last iteration, or the best one if CatBoost cuts it there."""
        if self.experiment is not None:
            self._recorder.attempt("The model was not saved", self._save)
        self._recorder.end_of_training()

    def _save(self) -> None:
        recorder, model = self._recorder, self.model
        model.save_model(self.filepath)
        last, best = len(self._history) - 1, model.best_iteration_
        is_cut = best is not None and best < last and model.get_all_params().get("use_best_model")
        step = best if is_cut else last
        if is_cut or not self._history[step]:
            recorder.flush()
            recorder.record(self._history[step], step, self.filepath)
        else:
            recorder.attach(self.filepath, {}, step)


def _goal(metric: str) -> str:
    from catboost.core import CatBoostError, is_maximizable_metric

    try:
        return "maximize" if is_maximizable_metric(metric) else "minimize"
    except CatBoostError:  # a metric of the user's own
        return "minimize"
