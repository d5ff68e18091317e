"""A callback for LightGBM and its estimators: `lightgbm.train(…, callbacks=[KeepsakeCallback()])`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from keepsake.experiment import Experiment
from keepsake.integrations.boosting import BoostingCallback
from keepsake.integrations.recorder import Primary


class KeepsakeCallback:
    """Begins an experiment when training begins, and records a checkpoint for each iteration.

    The metrics are named `DATA_METRIC`, such as `valid_0_l2`. The model is saved at the best iterations (where the next
    one is no better), as it was then, and at the last one. (LightGBM does not say that it stops early, so a model is
    saved at the best iteration then, and not at the last one.)

    Args:
        filepath: the file for the model, relative to the project directory, which must be the working directory; None:
            metrics only.
        params: further hyperparameters. Those of LightGBM are recorded in any case.
        primary_metric: one of the metrics and its goal; None: the last metric of the last data set.
        save_best_only: save the last iteration's model only if it is the best.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Attributes:
        experiment: the Experiment, once training has begun. The next training ends it. In a notebook, call
            `experiment.stop()` at the end.
    """

    order = 20  # LightGBM calls early stopping, 30, after this
    before_iteration = False

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = "model.txt",
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        save_best_only: bool = False,
        **options: Any,
    ) -> None:
        self._boosting = BoostingCallback(filepath, params, primary_metric, save_best_only, options)

    @property
    def experiment(self) -> Experiment | None:
        """The Experiment, once training has begun."""
        return self._boosting.experiment

    def __call__(self, env: Any) -> None:
        """Record a checkpoint; its step is the iteration, from 0. LightGBM calls this after each."""
        if env.iteration == env.begin_iteration:
            self._boosting.begin({name: value for name, value in env.params.items() if value is not None})
        metrics: dict[str, Any] = {}
        primary = None
        for data, metric, value, is_more_better, *deviation in env.evaluation_result_list or ():
            name = f"{data}_{metric}".replace(" ", "_")
            metrics[name] = value
            if deviation and deviation[0] is not None:  # of lightgbm.cv
                metrics[f"{name}_std"] = deviation[0]
            primary = (name, "maximize" if is_more_better else "minimize")

        def save(path: str, iterations: int) -> None:
            env.model.save_model(path, num_iteration=iterations)

        self._boosting.iteration(env.iteration, metrics, save, primary)
        if env.iteration + 1 == env.end_iteration:
            self._boosting.end(save)
