"""The logger for Lightning with the real Lightning 2: a tiny model, made-up data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.reading import all_recorded, recorded

torch = pytest.importorskip("torch", reason="`make test-frameworks` installs it")
lightning = pytest.importorskip("lightning.pytorch")

# Lightning has advice on how to train faster
pytestmark = pytest.mark.filterwarnings("default")

Fit = Callable[..., Any]
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "log_every_n_steps": 2}


def model(pl: Any, fail_in: int | None = None) -> Any:
    class Model(pl.LightningModule):  # type: ignore[misc]
        def __init__(self, lr: float, optimizer: dict[str, Any]) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 1)

        def loss(self, batch: Any) -> Any:
            return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

        def training_step(self, batch: Any, index: int) -> Any:
            if self.current_epoch == fail_in:
                raise ArithmeticError("no more")
            loss = self.loss(batch)
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.loss(batch))

        def test_step(self, batch: Any, index: int) -> None:
            self.log("test_loss", self.loss(batch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Model(lr=0.1, optimizer={"momentum": 0.0})


def data() -> Any:
    inputs = torch.rand(16, 2)
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=4
    )


@pytest.fixture
def fit(project_directory: Path) -> Iterator[Fit]:
    """Trains a model of one layer for two epochs of four batches with a logger; returns the trainer."""
    used: list[Any] = []

    def train(
        logger: Any, pl: Any = lightning, fail_in: int | None = None, resume: str | None = None, **options: Any
    ) -> Any:
        used.append(logger)
        torch.manual_seed(1)
        trainer = pl.Trainer(**{**QUIET, "max_epochs": 2, "logger": logger, **options})
        trainer.fit(model(pl, fail_in), data(), data(), ckpt_path=resume)
        return trainer

    yield train
    for logger in used:
        if getattr(logger, "experiment", None) is not None:
            logger.experiment.stop()


def logger(*args: Any, **options: Any) -> Any:
    from keepsake.lightning import KeepsakeLogger

    return KeepsakeLogger(*args, **options)


def best(**options: Any) -> Any:
    return lightning.callbacks.ModelCheckpoint(monitor="val_loss", **options)


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_every_step(fit: Fit, package: str) -> None:
    """Once, with all that is logged and saved at it, under both names of Lightning."""
    fit(logger(params={"data": "made up"}), pl=pytest.importorskip(package))
    experiment = recorded()
    assert experiment.params == {"lr": 0.1, "optimizer.momentum": 0.0, "data": "made up"}
    assert experiment.checkpoints.step == [1, 3, 5, 7]
    assert experiment.checkpoints[1].metrics.keys() == {"epoch", "train_loss_step", "train_loss_epoch", "val_loss"}
    paths = [Path(checkpoint.path) for checkpoint in experiment.checkpoints if checkpoint.path]
    assert [path.name for path in paths] == ["epoch=0-step=4.ckpt", "epoch=1-step=8.ckpt"]
    assert {path.parts[0] for path in paths} == {"lightning_logs"}
    with experiment.latest().open(str(paths[1])) as file:
        assert torch.load(file, weights_only=False)["global_step"] == 8


def test_the_best_file_and_its_score(fit: Fit) -> None:
    """What ModelCheckpoint monitors is the primary metric. With `last.ckpt` beside it, the better name counts."""
    trainer = fit(logger(), callbacks=[best(save_last=True, mode="max")])
    checkpoints = recorded().checkpoints
    assert checkpoints.declared_metric() == {"name": "val_loss", "goal": "maximize"}
    assert [Path(c.path).name for c in checkpoints if c.path] == ["epoch=0-step=4.ckpt"]
    score = float(trainer.checkpoint_callback.best_model_score)
    assert recorded().best().metrics["val_loss"] == pytest.approx(score)
    assert recorded().best().path == "lightning_logs/" + trainer.loggers[0].version + "/checkpoints/epoch=0-step=4.ckpt"


def test_files_in_the_middle_of_an_epoch(fit: Fit) -> None:
    """Each step's file is with its metrics, or alone."""
    fit(logger(), callbacks=[lightning.callbacks.ModelCheckpoint(every_n_train_steps=3, save_top_k=-1)])
    assert [(c.step, bool(c.path)) for c in recorded().checkpoints] == [
        (1, False), (2, True), (3, False), (5, True), (7, False),
    ]  # fmt: skip


def test_metrics_only(fit: Fit) -> None:
    """Without files."""
    fit(logger(save_files=False))
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == [None] * 4


def test_a_test_after_the_training(fit: Fit) -> None:
    """It belongs to the same run; so does a second fit()."""
    trainer = fit(logger())
    trainer.test(model(lightning), data(), verbose=False)
    assert recorded().latest().metrics.keys() == {"epoch", "test_loss"}
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model(lightning), data(), data())
    assert recorded().checkpoints.step == [1, 3, 5, 7, 8, 9, 11]
    assert len(trainer.callbacks) == len({type(callback) for callback in trainer.callbacks})


def test_the_end_of_a_training_is_no_end_of_the_run(fit: Fit) -> None:
    """Lightning says "finished" before it queues a job again, too."""
    mine = logger()
    fit(mine)
    mine.finalize("finished")
    assert recorded().is_running()


def test_training_that_fails(fit: Fit) -> None:
    """What had been logged is recorded, and why the run ended."""
    mine = logger()
    with pytest.raises(ArithmeticError):
        fit(mine, fail_in=1)
    mine.experiment.stop()
    assert recorded().checkpoints.step == [1, 3]
    assert recorded().end_reason == "exception: ArithmeticError"


def test_late_hyperparameters(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    """They cannot be recorded any more, and it is said how they can. Nothing else is printed but init()'s line."""
    mine = logger()
    mine.log_hyperparams({"early": 1})
    fit(mine)
    capfd.readouterr()
    mine.log_hyperparams({"early": 1})
    assert "═══╡" not in capfd.readouterr().err
    mine.log_hyperparams({"late": 1})
    assert "are not recorded: late" in capfd.readouterr().err
    assert recorded().params["early"] == 1


def test_without_a_trainer(project_directory: Path) -> None:
    """Fabric uses a logger so: the parts of a step come one by one."""
    mine = logger(params={"lr": 0.1})
    mine.log_metrics({"loss": 0.5}, step=0)
    mine.log_metrics({"accuracy": 0.5}, step=0)
    mine.log_metrics({"loss": 0.4}, step=1)
    mine.finalize("success")
    mine.experiment.stop()
    assert [checkpoint.metrics for checkpoint in recorded().checkpoints] == [
        {"loss": 0.5, "accuracy": 0.5}, {"loss": 0.4},
    ]  # fmt: skip


# No line at all


@pytest.mark.parametrize("automatic", ["", "1"])
def test_auto(fit: Fit, monkeypatch: pytest.MonkeyPatch, automatic: str) -> None:
    """With KEEPSAKE_AUTO=1, a script that says nothing of Keepsake is recorded, and saves where it does without."""
    monkeypatch.setenv("KEEPSAKE_AUTO", automatic)
    trainer = fit(False)
    assert Path("checkpoints/epoch=1-step=8.ckpt").exists()
    assert len(all_recorded()) == bool(automatic)
    if automatic:
        trainer.loggers[-1].experiment.stop()
        assert recorded().checkpoints.step == [1, 3, 5, 7]
        assert recorded().latest().path == "checkpoints/epoch=1-step=8.ckpt"
        assert recorded().params["lr"] == 0.1


def test_auto_beside_a_logger(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is recorded already is not recorded twice."""
    monkeypatch.setenv("KEEPSAKE_AUTO", "1")
    fit(logger())
    assert len(all_recorded()) == 1


def test_auto_breaks_no_training(fit: Fit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Where the run cannot be recorded, one line says why."""
    monkeypatch.setenv("KEEPSAKE_AUTO", "1")
    monkeypatch.delenv("KEEPSAKE_STRICT")
    Path("keepsake.yaml").write_text("repository: nonsense://here")
    assert fit(False).global_step == 8
    assert capfd.readouterr().err.count("The training is not recorded") == 1


def test_the_file_of_on_exception_checkpoint(fit: Fit) -> None:
    """It tells no logger of it."""
    with pytest.raises(ArithmeticError):
        fit(logger(), fail_in=1, callbacks=[lightning.callbacks.OnExceptionCheckpoint("saved")])
    last = recorded().latest()
    assert (last.step, last.path) == (3, "saved/on_exception.ckpt")


def test_a_file_that_is_saved_because_of_an_exception(fit: Fit) -> None:
    """ModelCheckpoint(save_on_exception=True) saves it."""
    saver = lightning.callbacks.ModelCheckpoint("saved", "{step}", save_on_exception=True, every_n_epochs=2)
    with pytest.raises(ArithmeticError):
        fit(logger(), fail_in=1, callbacks=[saver])
    assert recorded().latest().path == "saved/step=4.ckpt"


def test_a_training_after_one_that_failed(fit: Fit) -> None:
    """It goes on with the run, which then has not failed."""
    mine = logger()
    with pytest.raises(ArithmeticError):
        fit(mine, fail_in=1)
    fit(mine)
    mine.experiment.stop()
    assert (recorded().status, recorded().end_reason) == ("stopped", "stopped")
