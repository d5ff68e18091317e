"""The callback for CatBoost with what CatBoost shows it, without CatBoost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keepsake.catboost import KeepsakeCallback
from tests.frameworks.reading import recorded

pytestmark = pytest.mark.usefixtures("project_directory")


def train(values: list[list[float]], best: int | None = None, *, cuts: bool = False) -> Any:
    """Train for an iteration for each of these histories of the loss; return the step, path and loss of checkpoints."""
    model = SimpleNamespace(
        best_iteration_=best,
        get_params=dict,
        get_all_params=lambda: {"use_best_model": cuts},
        save_model=lambda path: Path(path).write_text("trees"),
    )
    callback = KeepsakeCallback(model, primary_metric=("validation_loss", "minimize"), path=None)
    for number, history in enumerate(values):
        callback.after_iteration(SimpleNamespace(iteration=number + 1, metrics={"validation": {"loss": history}}))
    callback.save()
    assert callback.experiment is not None
    callback.experiment.stop()
    return [(each.step, each.path, (each.metrics or {}).get("validation_loss")) for each in recorded().checkpoints]


def test_an_iteration_without_a_measurement_has_no_old_one() -> None:
    """With `metric_period`, CatBoost measures now and then, and shows the earlier values in between."""
    found = train([[3.0], [3.0], [3.0, 1.0], [3.0, 1.0]])
    assert found == [(0, None, 3.0), (2, None, 1.0), (3, "model.cbm", None)]


def test_a_model_that_is_cut_at_its_best_iteration_has_the_metrics_of_that() -> None:
    """Also if the training went on from another model, so that it has more trees than iterations."""
    found = train([[1.0], [1.0, 2.0], [1.0, 2.0, 3.0]], best=0, cuts=True)
    assert found == [(0, None, 1.0), (1, None, 2.0), (2, None, 3.0), (0, "model.cbm", 1.0)]


def test_a_model_that_is_not_cut_has_the_metrics_of_its_last_iteration() -> None:
    assert train([[1.0], [1.0, 2.0]], best=0) == [(0, None, 1.0), (1, "model.cbm", 2.0)]
