"""The callback with the real Trainer of Hugging Face: a tiny model made from a config, made-up data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.reading import all_recorded, recorded

torch = pytest.importorskip("torch", reason="`make test-frameworks` installs it")
transformers = pytest.importorskip("transformers")

# Transformers has advice on what else to install
pytestmark = pytest.mark.filterwarnings("default")

Train = Callable[..., Any]
EVERY_TWO = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1}


@pytest.fixture
def train(project_directory: Path) -> Iterator[Train]:
    """Trains a language model of one layer for six steps with a callback; returns the trainer."""

    def run(callback: Any, resume: bool | None = None, *others: Any, **options: Any) -> Any:
        torch.manual_seed(1)
        config = transformers.GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)
        data = [{"input_ids": torch.arange(8) + i % 8, "labels": torch.arange(8) + i % 8} for i in range(12)]
        quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "output_dir": "out"}
        settings = {"per_device_train_batch_size": 2, "num_train_epochs": 1, "learning_rate": 0.01}
        trainer = transformers.Trainer(
            model=transformers.GPT2LMHeadModel(config),
            args=transformers.TrainingArguments(**{**quiet, **settings, **EVERY_TWO, **options}),
            train_dataset=data,
            eval_dataset=data[:4],
            callbacks=[callback, *others],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        used.append(callback)
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    used: list[Any] = []
    yield run
    for each in used:
        if getattr(each, "experiment", None) is not None:
            each.experiment.stop()


def callback(*args: Any, **options: Any) -> Any:
    from keepsake.transformers import KeepsakeCallback

    return KeepsakeCallback(*args, **options)


def test_every_step(train: Train) -> None:
    """Once, with all that is logged, evaluated and saved at it; the last model is the one that was trained."""
    trainer = train(callback(params={"data": "counting"}))
    experiment = recorded()
    checkpoints = experiment.checkpoints
    assert checkpoints.step == [1, 2, 3, 4, 5, 6]
    assert [c.path for c in checkpoints] == [
        None, "out/checkpoint-2", None, "out/checkpoint-4", None, "out/checkpoint-6",
    ]  # fmt: skip
    assert all("loss" in checkpoint.metrics for checkpoint in checkpoints)
    assert ["eval_loss" in checkpoint.metrics for checkpoint in checkpoints] == [False, True] * 3
    assert checkpoints.declared_metric() == {"name": "eval_loss", "goal": "minimize"}
    assert [entry["loss"] for entry in trainer.state.log_history if "loss" in entry] == checkpoints.metrics["loss"]
    with experiment.latest().open("out/checkpoint-6/model.safetensors") as file:
        assert file.read() == Path("out/checkpoint-6/model.safetensors").read_bytes()


def test_params(train: Train) -> None:
    """The arguments that make the training, the model's configuration, and the user's own."""
    train(callback(params={"data": "counting", "seed": "my own"}))
    params = recorded().params
    expected = {"learning_rate": 0.01, "model.n_embd": 8, "model.model_type": "gpt2", "data": "counting"}
    assert params.items() >= {**expected, "seed": "my own", "num_train_epochs": 1}.items()
    assert not [name for name in params if "hub" in name or name.startswith(("save", "log"))]


@pytest.mark.parametrize(
    ("options", "primary"),
    [
        ({"eval_strategy": "no"}, ("loss", "minimize")),
        ({"metric_for_best_model": "loss"}, ("eval_loss", "minimize")),
        ({"metric_for_best_model": "eval_samples_per_second", "greater_is_better": True},
         ("eval_samples_per_second", "maximize")),
    ],
)  # fmt: skip
def test_primary_metric(train: Train, options: dict[str, Any], primary: tuple[str, str]) -> None:
    """It follows the training arguments."""
    train(callback(), save_strategy="no", **options)
    assert recorded().checkpoints.declared_metric() == dict(zip(("name", "goal"), primary, strict=True))


def test_save_best_only(train: Train) -> None:
    """The loss falls, so if more were better, the first evaluation would be the best one."""
    train(callback(primary_metric=("eval_loss", "max"), save_best_only=True))
    checkpoints = recorded().checkpoints
    losses = [loss for loss in checkpoints.metrics["eval_loss"] if loss]
    assert losses == sorted(losses, reverse=True)
    assert [checkpoint.path for checkpoint in checkpoints if checkpoint.path] == ["out/checkpoint-2"]
    assert recorded().best().step == 2


def test_metrics_only(train: Train) -> None:
    """Without files."""
    train(callback(save_files=False))
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == [None] * 6


def test_evaluation_after_the_training(train: Train) -> None:
    """A test set's metrics are recorded. What the training has measured is not measured again."""
    trainer = train(callback(), load_best_model_at_end=True)
    trainer.evaluate()
    assert recorded().checkpoints.step == [1, 2, 3, 4, 5, 6]
    trainer.evaluate(metric_key_prefix="test")
    assert recorded().checkpoints.step == [1, 2, 3, 4, 5, 6, 6]
    assert "test_loss" in recorded().latest().metrics
    assert recorded().best().path


def test_files_that_are_removed_soon(train: Train) -> None:
    """With save_total_limit=1, the Trainer keeps one checkpoint. Keepsake has them all."""
    train(callback(), save_total_limit=1)
    assert len([path for path in Path("out").iterdir() if path.name.startswith("checkpoint")]) == 1
    for step in (2, 4, 6):
        with recorded().checkpoints[step - 1].open(f"out/checkpoint-{step}/model.safetensors") as file:
            assert file.read(1)


@pytest.mark.parametrize("hook", ["on_optimizer_step", "on_step_end", "on_step_begin"])
def test_files_that_are_saved_because_of_a_signal(train: Train, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    """With enable_jit_checkpoint, wherever SIGTERM comes: the run is terminated, and the next job goes on with it."""
    managers: list[Any] = []
    saving = pytest.importorskip("transformers.trainer_jit_checkpoint")
    monkeypatch.setattr(saving.CheckpointManager, "setup_signal_handler", lambda self: managers.append(self))

    def preempt(self: Any, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step == 3 - (hook == "on_optimizer_step"):
            managers[0].is_checkpoint_requested = True

    scheduler = type("Scheduler", (transformers.TrainerCallback,), {hook: preempt})()
    jit = {"enable_jit_checkpoint": True, "eval_strategy": "no", "save_steps": 100}
    first = callback()
    train(first, None, scheduler, **jit)
    first.experiment.stop()
    assert recorded().end_reason == "terminated"
    assert [checkpoint.path for checkpoint in recorded().checkpoints if checkpoint.path] == ["out/checkpoint-3"]
    train(callback(), True, **jit)
    experiment = recorded()
    assert experiment.is_running()
    assert len(experiment.restarts) == 1
    assert sorted({*experiment.checkpoints.step}) == [1, 2, 3, 4, 5, 6]
    files = [checkpoint.path for checkpoint in experiment.checkpoints if checkpoint.path]
    assert files == ["out/checkpoint-3", "out/checkpoint-6"]


def test_files_of_a_search(project_directory: Path) -> None:
    """Each trial has a run with its own files, which the Trainer saves in a directory per trial."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = transformers.GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    data = [{"input_ids": torch.arange(8), "labels": torch.arange(8)}] * 4
    mine = callback()
    trainer = transformers.Trainer(
        args=transformers.TrainingArguments("out", report_to="none", use_cpu=True, max_steps=2, **EVERY_TWO),
        train_dataset=data,
        eval_dataset=data,
        model_init=lambda: transformers.GPT2LMHeadModel(config),
        callbacks=[mine],
    )
    trainer.hyperparameter_search(lambda trial: {"seed": trial.suggest_int("seed", 1, 9)}, n_trials=2, backend="optuna")
    mine.experiment.stop()
    for number, experiment in enumerate(all_recorded()):
        assert experiment.latest().path == f"out/run-{number}/checkpoint-2"
        with experiment.latest().open(f"out/run-{number}/checkpoint-2/model.safetensors") as file:
            assert file.read() == Path(f"out/run-{number}/checkpoint-2/model.safetensors").read_bytes()


def test_each_training_is_an_experiment(train: Train) -> None:
    """One callback, used twice: the second training ends the first run."""
    twice = callback(save_files=False)
    train(twice)
    train(twice)
    assert [experiment.status for experiment in all_recorded()] == ["stopped", "running"]
    assert [len(experiment.checkpoints) for experiment in all_recorded()] == [6, 6]


def test_a_process_that_is_not_the_first(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """It records nothing."""
    monkeypatch.setattr(transformers.Trainer, "is_world_process_zero", lambda self: False)
    train(callback(), save_strategy="no")
    assert list(all_recorded()) == []


def test_a_training_without_the_callback_can_be_resumed_with_it(train: Train) -> None:
    """The other way round works too."""
    train(transformers.TrainerCallback(), max_steps=2)
    train(callback(), resume=True, max_steps=4)
    assert recorded().checkpoints.step == [3, 4]
    train(transformers.TrainerCallback(), resume=True, max_steps=6, restore_callback_states_from_checkpoint=True)


def test_nothing_is_printed_into_the_progress_bar(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    """Only the line of init(), before the training."""
    train(callback())
    lines = [line for line in capfd.readouterr().err.splitlines() if "═══╡" in line]
    assert len(lines) == 1
    assert "Creating experiment" in lines[0]
