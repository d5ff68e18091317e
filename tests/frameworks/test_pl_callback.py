"""The Lightning callback with the real Lightning 2, by both of its names: a tiny model, made-up data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import ValidationError

torch = pytest.importorskip("torch", reason="`make test-frameworks` installs it")

# Lightning has advice on how to train faster
pytestmark = pytest.mark.filterwarnings("default")

Fit = Callable[..., Any]


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def pl(request: pytest.FixtureRequest) -> Any:
    """Lightning, by either name."""
    return pytest.importorskip(request.param)


def make_model(pl: Any) -> Any:
    class Model(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.fail_in: int | None = None

        def training_step(self, batch: Any, index: int) -> Any:
            if self.current_epoch == self.fail_in:
                raise ArithmeticError("no more")
            loss = ((self.layer(batch[0]) - batch[1]) ** 2).mean()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", ((self.layer(batch[0]) - batch[1]) ** 2).mean())

        def on_train_epoch_end(self) -> None:
            self.log("at_the_end", float(self.current_epoch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Model()


@pytest.fixture
def fit(pl: Any, project_directory: Path) -> Fit:
    """Trains a model of one layer on 16 examples with a callback; returns the model."""

    def train(
        callback: Any, validate: bool = True, fail_in: int | None = None, resume: str | None = None, **options: Any
    ) -> Any:
        torch.manual_seed(1)
        inputs = torch.rand(16, 2)
        examples = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
        loaders = [torch.utils.data.DataLoader(examples, batch_size=4) for _ in range(1 + validate)]
        quiet = {
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
        }
        trainer = pl.Trainer(**{"max_epochs": 3, "accelerator": "cpu", **quiet, **options}, callbacks=[callback])
        model = make_model(pl)
        model.fail_in = fail_in
        try:
            trainer.fit(model, *loaders, ckpt_path=resume)
        finally:
            if callback.experiment is not None:
                callback.experiment.stop()
        return model

    return train


def callback(*args: Any, **options: Any) -> Any:
    from keepsake.pl_callback import KeepsakeCallback

    return KeepsakeCallback(*args, **options)


def recorded() -> Any:
    """The last experiment in the repository."""
    return keepsake.experiments.list()[-1]


def test_every_epoch(fit: Fit) -> None:
    """Files, metrics, steps; the last model is the one that was trained. The sanity check leaves no trace."""
    model = fit(callback(params={"lr": 0.1}, primary_metric=("val_loss", "minimize")))
    experiment = recorded()
    assert (experiment.path, experiment.params) == (".", {"lr": 0.1})
    assert [(c.step, c.path) for c in experiment.checkpoints] == [(0, "model.pth"), (1, "model.pth"), (2, "model.pth")]
    assert experiment.checkpoints[0].metrics.keys() == {"global_step", "train_loss", "val_loss", "at_the_end"}
    assert experiment.checkpoints.metrics["global_step"] == [4, 8, 12]
    assert experiment.checkpoints.metrics["at_the_end"] == [0, 1, 2]
    assert experiment.primary_metric() == "val_loss"
    with experiment.latest().open("model.pth") as file:
        loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded["state_dict"]["layer.weight"], model.layer.weight)
    assert "optimizer_states" in loaded


def test_every_second_epoch_weights_only(fit: Fit) -> None:
    """With a name of its own."""
    fit(callback("below/weights.pth", period=2, save_weights_only=True), max_epochs=5)
    experiment = recorded()
    assert experiment.checkpoints.step == [1, 3]
    with experiment.latest().open("below/weights.pth") as file:
        loaded = torch.load(file, weights_only=False)
    assert "state_dict" in loaded
    assert "optimizer_states" not in loaded


def test_metrics_only(fit: Fit, project_directory: Path) -> None:
    """Without a file, and without validation."""
    fit(callback(filepath=None), validate=False)
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == [None] * 3
    assert recorded().checkpoints[0].metrics.keys() == {"global_step", "train_loss", "at_the_end"}
    assert {path.name for path in project_directory.iterdir()} <= {"keepsake.yaml", "repo", ".keepsake"}


def test_training_that_fails(fit: Fit) -> None:
    """What had been finished is recorded."""
    with pytest.raises(ArithmeticError):
        fit(callback(), fail_in=2)
    assert recorded().checkpoints.step == [0, 1]


def test_training_that_is_resumed(fit: Fit, tmp_path: Path) -> None:
    """From a checkpoint: it goes on with the next epoch."""
    fit(callback(), max_epochs=2)
    recorded().latest().checkout(tmp_path / "out", quiet=True)
    fit(callback(), max_epochs=4, resume=str(tmp_path / "out/model.pth"))
    assert recorded().checkpoints.step == [2, 3]
    assert recorded().checkpoints.metrics["global_step"] == [12, 16]


def test_a_trial_run_records_nothing(fit: Fit) -> None:
    """fast_dev_run."""
    fit(callback(), fast_dev_run=True)
    assert list(keepsake.experiments.list()) == []


@pytest.mark.parametrize("period", [0, -1, "epoch"])
def test_a_period_that_is_none(period: Any) -> None:
    """Refused before the training begins."""
    with pytest.raises(ValidationError, match="period"):
        callback(period=period)
