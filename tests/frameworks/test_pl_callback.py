"""The Lightning callback with the real Lightning 2, by both of its names: a tiny model, made-up data."""

from __future__ import annotations

import signal
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
            self.failure: type[BaseException] = ArithmeticError

        def training_step(self, batch: Any, index: int) -> Any:
            if self.current_epoch == self.fail_in:
                raise self.failure("no more")
            loss = ((self.layer(batch[0]) - batch[1]) ** 2).mean()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", ((self.layer(batch[0]) - batch[1]) ** 2).mean())

        def test_step(self, batch: Any, index: int) -> None:
            self.validation_step(batch, index)

        def on_train_epoch_end(self) -> None:
            self.log("at_the_end", float(self.current_epoch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Model()


@pytest.fixture
def fit(pl: Any, project_directory: Path) -> Fit:
    """Trains a model of one layer on 16 examples with a callback; returns the model."""

    def train(
        callback: Any,
        validate: bool = True,
        fail_in: int | None = None,
        failure: type[BaseException] = ArithmeticError,
        resume: str | None = None,
        stop: bool = True,
        **options: Any,
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
        model.fail_in, model.failure = fail_in, failure
        try:
            trainer.fit(model, *loaders, ckpt_path=resume)
        finally:
            if stop and callback.experiment is not None:
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
    """What had been finished is recorded, and why the run ended, though the script goes on."""
    with pytest.raises(ArithmeticError):
        fit(callback(), fail_in=2)
    assert recorded().checkpoints.step == [0, 1]
    assert recorded().end_reason == "exception: ArithmeticError"


def test_ctrl_c(fit: Fit) -> None:
    """Lightning makes an exit with status 1 of it."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            fit(callback(), fail_in=1, failure=KeyboardInterrupt)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert recorded().checkpoints.step == [0]
    assert recorded().end_reason == "interrupted"


@pytest.mark.parametrize(
    ("options", "validated"),
    [
        ({"check_val_every_n_epoch": 3, "max_epochs": 5}, [(0, False), (1, False), (2, True), (3, False), (4, False)]),
        ({"val_check_interval": 0.5, "max_epochs": 2}, [(0, True), (0, True), (1, True), (1, True)]),
        ({"val_check_interval": 0.75, "max_epochs": 2}, [(0, True), (0, False), (1, True), (1, False)]),
        (
            {"val_check_interval": 6, "check_val_every_n_epoch": None, "max_epochs": 3},
            [(0, False), (1, True), (1, False), (2, True)],
        ),
    ],
)
def test_validation_at_other_times(fit: Fit, options: dict[str, Any], validated: list[tuple[int, bool]]) -> None:
    """Each validation has a checkpoint, and each epoch; none claims what an earlier validation has measured."""
    fit(callback(primary_metric=("val_loss", "minimize")), **options)
    checkpoints = recorded().checkpoints
    assert [(c.step, c.primary_metric is not None) for c in checkpoints] == validated
    assert [(c.step, "val_loss" in c.metrics) for c in checkpoints] == validated
    assert all("train_loss" in checkpoint.metrics for checkpoint in checkpoints)
    for checkpoint in checkpoints:
        with checkpoint.open("model.pth") as file:
            assert torch.load(file, weights_only=False)["global_step"] == checkpoint.metrics["global_step"]


def test_a_second_training_ends_the_first_run(fit: Fit) -> None:
    """Without a call of stop()."""
    twice = callback(filepath=None)
    fit(twice, stop=False)
    assert recorded().is_running()
    fit(twice, stop=False)
    assert [experiment.status for experiment in keepsake.experiments.list()] == ["stopped", "running"]
    assert [len(experiment.checkpoints) for experiment in keepsake.experiments.list()] == [3, 3]
    twice.experiment.stop()


def test_a_primary_metric_that_never_comes(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    """It is misspelt: said once, with the names that there are."""
    fit(callback(filepath=None, primary_metric=("val_los", "minimize")))
    assert capsys.readouterr().err.count("val_los'") == 1
    assert len(recorded().checkpoints) == 3


def test_nothing_is_printed_into_the_progress_bar(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    """Only the line of init(), before the training."""
    fit(callback())
    assert "Creating checkpoint" not in capfd.readouterr().err


def test_training_that_is_resumed(fit: Fit, tmp_path: Path) -> None:
    """From a checkpoint: it goes on with the next epoch."""
    fit(callback(), max_epochs=2)
    recorded().latest().checkout(tmp_path / "out", quiet=True)
    fit(callback(), max_epochs=4, resume=str(tmp_path / "out/model.pth"))
    assert recorded().checkpoints.step == [2, 3]
    assert recorded().checkpoints.metrics["global_step"] == [12, 16]


@pytest.mark.parametrize("method", ["validate", "test"])
def test_a_model_that_is_only_evaluated_is_not_saved(fit: Fit, pl: Any, method: str) -> None:
    """The file that is evaluated stays as it is, with its optimizer."""
    fit(callback(), max_epochs=1)
    before = Path("model.pth").read_bytes()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[callback()])
    examples = torch.utils.data.TensorDataset(torch.rand(4, 2), torch.rand(4, 1))
    loader = torch.utils.data.DataLoader(examples)
    getattr(trainer, method)(make_model(pl), loader, ckpt_path="model.pth", weights_only=False, verbose=False)
    assert Path("model.pth").read_bytes() == before


def test_a_model_that_cannot_be_saved(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The training goes on, its metrics are recorded, and one line says why there are no models."""
    monkeypatch.delenv("KEEPSAKE_STRICT")
    fit(callback("keepsake.yaml/model.pth"))
    assert [(checkpoint.step, checkpoint.path) for checkpoint in recorded().checkpoints] == [
        (0, None), (1, None), (2, None),
    ]  # fmt: skip
    assert capfd.readouterr().err.count("The model was not saved") == 1


def test_a_trial_run_records_nothing(fit: Fit) -> None:
    """fast_dev_run."""
    fit(callback(), fast_dev_run=True)
    assert list(keepsake.experiments.list()) == []


@pytest.mark.parametrize("period", [0, -1, "epoch"])
def test_a_period_that_is_none(period: Any) -> None:
    """Refused before the training begins."""
    with pytest.raises(ValidationError, match="period"):
        callback(period=period)
