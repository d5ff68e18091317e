"""What the callbacks for gradient boosting share: a model that grows by iterations, and is saved where it is best."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from keepsake.experiment import Experiment
from keepsake.integrations.recorder import Primary, Recorder
from keepsake.util.clock import monotonic

_SLOW_SECONDS = 1.0  # an iteration that takes longer has time to save its model
_PATIENCE_SECONDS = 5.0  # LightGBM does not say that it stops early

Save = Callable[[str, int], object]  # (path, number): saves the model's first iterations


class BoostingCallback:
    """Records each iteration as a checkpoint, and the model with the best ones.

    The model grows with each iteration, so it is not saved at each: only where the primary metric gets no better for
    the first time, and at the end.

    Args:
        filepath: the file for the model; None: metrics only.
        params: further hyperparameters.
        primary_metric: one of the metrics and its goal; None: the last metric of the last data set.
        save_best_only: save the last iteration's model only if it is the best.
        options: further arguments of `keepsake.init()`.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None,
        params: Mapping[str, Any] | None,
        primary_metric: Primary | None,
        save_best_only: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.filepath = None if filepath is None else os.fspath(filepath)
        self.recorder = Recorder(params, primary_metric, options=options, patience=_PATIENCE_SECONDS)
        self._save_best_only = save_best_only
        self._step: int | None = None  # the last iteration
        self._is_best = self._is_saved = False  # of the last iteration
        self._time = 0.0

    @property
    def experiment(self) -> Experiment | None:
        """The Experiment, once training has begun."""
        return self.recorder.experiment

    def begin(self, params: Mapping[str, Any]) -> None:
        """Begin an experiment. An earlier training's experiment ends."""
        self._step, self._time = None, monotonic()
        self.recorder.begin(params)
        self.recorder.may_end()  # nothing tells that an exception ends the training, or early stopping in LightGBM

    def iteration(self, step: int, metrics: Mapping[str, Any], save: Save, default: Primary | None = None) -> None:
        """Record an iteration.

        Args:
            step: its number.
            metrics: name → value.
            save: saves the model.
            default: the primary metric, if the user named none.
        """
        if self.recorder.primary_metric is None:
            self.recorder.primary_metric = default
        is_best = self.recorder.improves(metrics)
        if self._is_best and not is_best:
            self._attach(save)
        self.recorder.log(metrics, step)
        self._step, self._is_best, self._is_saved = step, is_best, False
        now = monotonic()
        is_slow, self._time = now - self._time > _SLOW_SECONDS, now
        if is_best and is_slow:
            self._attach(save)

    def end(self, save: Save) -> None:
        """Record the last iteration, with the model."""
        if self._is_best or not self._save_best_only:
            self._attach(save)
        self._step = None
        self.recorder.end_of_training()

    def _attach(self, save: Save) -> None:
        """Record the last iteration with the model, unless that is done."""
        path, step = self.filepath, self._step
        if path is None or step is None or self._is_saved or self.experiment is None:
            return

        def save_there() -> None:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            save(path, step + 1)

        if self.recorder.attempt("The model was not saved", save_there):
            self.recorder.attach(path, {}, step)
            self.recorder.flush()  # the next model is saved as the same file
        self._is_saved = True


def number(text: Any) -> Any:
    """Return the number in a text of XGBoost, with the digits that a float32 has; else the text."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return text
    return float(f"{value:.7g}") if isinstance(value, float) else value
