"""The Keras callback with the real Keras 3: a tiny model, made-up data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import ValidationError
from tests.frameworks.reading import recorded

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="`make test-frameworks` installs it")
np = pytest.importorskip("numpy")

# Keras says of its older format that it is one
pytestmark = pytest.mark.filterwarnings("default")

PRIMARY = ("val_loss", "minimize")
Fit = Callable[..., Any]


@pytest.fixture
def fit(project_directory: Path) -> Fit:
    """Trains a model of one layer on 16 examples with a callback; returns the model."""

    def train(callback: Any, validate: bool = True, stop: bool = True, **options: Any) -> Any:
        generator = np.random.default_rng(1)
        inputs = generator.random((16, 2))
        targets = inputs.sum(axis=1, keepdims=True)
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        options = {"epochs": 3, "batch_size": 4, "verbose": 0, **options}
        model.fit(
            inputs, targets, validation_data=(inputs, targets) if validate else None, callbacks=[callback], **options
        )
        if stop:
            callback.experiment.stop()
        return model

    return train


def callback(*args: Any, **options: Any) -> Any:
    from keepsake.keras_callback import KeepsakeCallback

    return KeepsakeCallback(*args, **options)


def weights(model: Any) -> list[Any]:
    return [array.tolist() for array in model.get_weights()]


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.hdf5", "below/model.keras"])
def test_whole_models(fit: Fit, tmp_path: Path, name: str) -> None:
    """Each epoch's model comes back as it was; the last is the one that was trained."""
    model = fit(callback(name, params={"lr": 0.01}, primary_metric=PRIMARY))
    experiment = recorded()
    assert (experiment.path, experiment.params) == (".", {"lr": 0.01})
    assert [(c.step, c.path) for c in experiment.checkpoints] == [(0, name), (1, name), (2, name)]
    assert experiment.checkpoints[0].metrics.keys() == {"loss", "mae", "val_loss", "val_mae"}
    assert experiment.primary_metric() == "val_loss"
    experiment.latest().checkout(tmp_path / "out", quiet=True)
    loaded = keras.saving.load_model(tmp_path / "out" / name, compile=name.endswith(".keras"))
    assert weights(loaded) == weights(model)


def test_the_default_file(fit: Fit) -> None:
    """model.hdf5, as ever."""
    fit(callback())
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == ["model.hdf5"] * 3


@pytest.mark.parametrize("name", ["model.weights.h5", "model.hdf5"])
def test_weights_only(fit: Fit, tmp_path: Path, name: str) -> None:
    """They can be loaded into such a model."""
    model = fit(callback(name, save_weights_only=True))
    recorded().latest().checkout(tmp_path / "out", quiet=True)
    other = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    assert weights(other) != weights(model)
    other.load_weights(tmp_path / "out" / name)
    assert weights(other) == weights(model)


def test_every_few_batches(fit: Fit) -> None:
    """12 batches; the steps count the checkpoints."""
    fit(callback("model.keras", save_freq=5))
    assert [checkpoint.step for checkpoint in recorded().checkpoints] == [0, 1]
    assert recorded().checkpoints[0].metrics.keys() == {"loss", "mae"}


@pytest.mark.parametrize(("at_once", "ends"), [(1, [3, 7, 1, 5, 9]), (2, [3, 7, 1, 5, 9]), (3, [5, 2, 8])])
def test_batches_that_keras_runs_together(project_directory: Path, at_once: int, ends: list[int]) -> None:
    """With steps_per_execution, there is a checkpoint where Keras's own ModelCheckpoint saves one."""
    mine = callback(None, save_freq=4)
    mine.on_train_begin()
    for epoch in range(2):
        mine.on_epoch_begin(epoch)
        for end in range(at_once - 1, 10, at_once):
            mine.on_train_batch_end(end, {"batch": end})
    assert recorded().checkpoints.metrics["batch"] == ends
    mine.experiment.stop()


def test_a_file_for_each_epoch(fit: Fit) -> None:
    """The names are those of ModelCheckpoint."""
    fit(callback("model-{epoch:02d}.keras"), epochs=2)
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == ["model-01.keras", "model-02.keras"]


def test_metrics_only(fit: Fit, project_directory: Path) -> None:
    """Without a file, and without validation."""
    fit(callback(None), validate=False)
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == [None] * 3
    assert recorded().checkpoints[0].metrics.keys() == {"loss", "mae"}
    assert {path.name for path in project_directory.iterdir()} <= {"keepsake.yaml", "repo", ".keepsake"}


def test_training_that_goes_on(fit: Fit) -> None:
    """From the third epoch."""
    fit(callback(None), initial_epoch=2, epochs=4)
    assert recorded().checkpoints.step == [2, 3]


def test_each_training_is_an_experiment(fit: Fit) -> None:
    """One callback, used twice."""
    twice = callback(None)
    fit(twice)
    fit(twice)
    assert [len(experiment.checkpoints) for experiment in keepsake.experiments.list()] == [3, 3]


def test_a_second_training_ends_the_first_run(fit: Fit) -> None:
    """Without a call of stop(): one callback has one run at a time."""
    twice = callback(None)
    fit(twice, stop=False)
    assert recorded().is_running()
    fit(twice, stop=False)
    assert [experiment.status for experiment in keepsake.experiments.list()] == ["stopped", "running"]
    twice.experiment.stop()


@pytest.mark.parametrize(
    ("options", "training", "have"),
    [
        ({}, {"validation_freq": 2, "epochs": 4}, [False, True, False, True]),
        ({"save_freq": 4}, {}, [False] * 3),
        ({}, {"validate": False}, [False] * 3),
        ({"filepath": "{epoch}-{val_loss:.2f}.keras"}, {"validation_freq": 2, "epochs": 2}, [False, True]),
    ],
)
def test_without_validation(fit: Fit, options: dict[str, Any], training: dict[str, Any], have: list[bool]) -> None:
    """No checkpoint is lost for want of the primary metric, which the others have."""
    fit(callback(**{"filepath": "model.keras", "primary_metric": PRIMARY, **options}), **training)
    checkpoints = recorded().checkpoints
    assert [checkpoint.primary_metric is not None for checkpoint in checkpoints] == have
    assert ["val_loss" in checkpoint.metrics for checkpoint in checkpoints] == have
    assert all(checkpoint.path for checkpoint in checkpoints)


def test_a_primary_metric_that_never_comes(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    """It is misspelt: said once, with the names that there are."""
    fit(callback(None, primary_metric=("val_los", "minimize")))
    assert capsys.readouterr().err.count("val_los'") == 1
    assert len(recorded().checkpoints) == 3


def test_nothing_is_printed_into_the_progress_bar(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    """Only the lines of init() and of the end, before and after the training."""
    fit(callback("model.keras"))
    lines = [line for line in capfd.readouterr().err.splitlines() if "═══╡" in line]
    assert all("Creating experiment" in line or "checkpoints saved to" in line for line in lines), lines


@pytest.mark.parametrize(
    "options",
    [
        {"filepath": "model.pth"},
        {"filepath": "model.keras", "save_weights_only": True},
        {"save_freq": "batch"},
        {"save_freq": 0},
    ],
)
def test_what_cannot_be_saved(options: dict[str, Any]) -> None:
    """Refused before the training begins."""
    with pytest.raises(ValidationError, match=next(iter(options))):
        callback(**options)
