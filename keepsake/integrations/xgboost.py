"""A callback for XGBoost and its estimators: `xgboost.train(…, callbacks=[KeepsakeCallback()])`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from keepsake.experiment import Experiment
from keepsake.integrations.boosting import BoostingCallback, Save, number
from keepsake.integrations.recorder import Primary, needing

with needing("xgboost", "XGBoost", "xgboost"):
    from xgboost import Booster, collective
    from xgboost.callback import TrainingCallback

# As in XGBoost's own early stopping
_MORE_IS_BETTER = ("auc", "pre", "map", "ndcg")
_ALIASES = {"alpha", "eta", "gamma", "lambda"}  # of reg_alpha, learning_rate, min_split_loss, reg_lambda
_PARAMS = {"tree_train_param", "linear_train_param", "dart_train_param", "learner_train_param", "reg_loss_param"}


class KeepsakeCallback(TrainingCallback):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint for each iteration.

    The params are those of the booster. The metrics are named `DATA_METRIC`, such as `validation_0_rmse`. The model is
    saved at the best iterations (where the next one is no better), as it was then, and at the last one.

    Args:
        filepath: the file for the model, relative to the project directory, which must be the working directory; None:
            metrics only. Its ending, `.ubj` or `.json`, is the format.
        params: further hyperparameters.
        primary_metric: one of the metrics and its goal; None: the last metric of the last data set, as for XGBoost's
            early stopping.
        save_best_only: save the last iteration's model only if it is the best.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Attributes:
        experiment: the Experiment, once training has begun. The next training ends it. In a notebook, call
            `experiment.stop()` at the end.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = "model.ubj",
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        save_best_only: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self._filepath = None if filepath is None else os.fspath(filepath)
        self._boosting = BoostingCallback(filepath, params, primary_metric, save_best_only, options)
        self._earlier = 0  # the rounds of the model with which the training goes on (`xgb_model`)

    @property
    def experiment(self) -> Experiment | None:
        """The Experiment, once training has begun."""
        return self._boosting.experiment

    def before_training(self, model: Any) -> Any:
        """Begin an experiment, and save the project directory."""
        if collective.get_rank() == 0:
            is_one = isinstance(model, Booster)  # xgboost.cv trains several
            self._boosting.filepath = self._filepath if is_one else None
            self._earlier = model.num_boosted_rounds() if is_one else 0
            self._boosting.begin(dict(_params(json.loads(model.save_config()))) if is_one else {})
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """Record a checkpoint; its step is the iteration, from 0."""
        metrics: dict[str, Any] = {}
        primary = None
        for data, values in evals_log.items():
            for name, history in values.items():
                value = history[-1]
                if isinstance(value, tuple):  # of xgboost.cv: the mean and the standard deviation
                    value, metrics[f"{data}_{name}_std"] = value
                metrics[f"{data}_{name}"] = value
                is_more_better = name != "mape" and name.startswith(_MORE_IS_BETTER)
                primary = (f"{data}_{name}", "maximize" if is_more_better else "minimize")
        self._boosting.iteration(epoch, metrics, self._saver(model), primary)
        return False

    def after_training(self, model: Any) -> Any:
        """Record the last iteration."""
        self._boosting.end(self._saver(model))
        return model

    def _saver(self, model: Any) -> Save:
        def save(path: str, iterations: int) -> None:
            rounds = self._earlier + iterations
            (model if model.num_boosted_rounds() <= rounds else model[:rounds]).save_model(path)

        return save


def _params(config: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the params in a booster's configuration: name, value."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _params(value, name)
        elif (section in _PARAMS and name not in _ALIASES and value) or name == "seed":
            yield name, number(value)
