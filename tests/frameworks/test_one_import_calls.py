"""The writer and the module in the shapes of TensorBoard and W&B, call by call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import keepsake
import keepsake.wandb as wandb
from keepsake.integrations import tensorboard, wandb_run
from keepsake.integrations.wandb_values import plain_values
from keepsake.tensorboard import SummaryWriter
from tests.frameworks.reading import all_recorded, recorded
from tests.waiting import wait_until

pytestmark = [pytest.mark.usefixtures("project_directory"), pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    wandb.finish()


def steps(experiment: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(checkpoint.step, checkpoint.metrics or {}) for checkpoint in experiment.checkpoints]


def open_run() -> Any:
    return wandb.run


END = """
import os, signal, sys, time
import keepsake.wandb as wandb
from keepsake.tensorboard import SummaryWriter
writer = SummaryWriter("runs/x")
run = wandb.init(config={"model": {"depth": 1}})
writer.add_scalar("loss", 1.0, 7)
writer.add_scalar("accuracy", 2.0, 7)
run.log({"a": 1}, commit=False)
run.summary["best"] = 5
run.config["model"]["depth"] = 2
if len(sys.argv) > 1:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


@pytest.mark.parametrize("arguments", [[], ["terminated"]])
def test_the_end_of_a_program_loses_nothing(arguments: list[str]) -> None:
    """Nothing is closed, and nothing was flushed."""
    if arguments and sys.platform == "win32":
        pytest.skip("Windows has no SIGTERM that a program could hear")
    done = subprocess.run([sys.executable, "-c", END, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == (-signal.SIGTERM if arguments else 0), done.stderr
    writer, run = all_recorded()
    assert steps(writer) == [(7, {"loss": 1.0, "accuracy": 2.0})]
    assert steps(run) == [(0, {"a": 1, "best": 5})]
    assert run.params == {"model": {"depth": 2}}
    assert run.end_reason == (arguments or ["finished"])[0]


def test_a_value_waits_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is killed then loses little."""
    monkeypatch.setattr(tensorboard, "_PATIENCE_SECONDS", 0.05)
    with SummaryWriter("runs/x") as writer:
        writer.add_scalar("loss", 1.0, 3)
        assert writer.experiment is not None
        checkpoints = writer.experiment.checkpoints
        wait_until(lambda: len(checkpoints) == 1)


def test_a_tag_that_comes_again_begins_a_checkpoint() -> None:
    with SummaryWriter("runs/x") as writer:
        for value in (1.0, 2.0):
            writer.add_scalar("loss", value, 3)
        writer.add_scalar("accuracy", 0.5, 3)
    assert steps(recorded()) == [(3, {"loss": 1.0}), (3, {"loss": 2.0, "accuracy": 0.5})]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a/train", "runs/a/val"], [["train/x", "val/x"]]),
        (["runs/a", "runs/a/eval/deep"], [["x", "eval/deep/x"]]),
        (["logs/train", "logs/b"], [["train/x"], ["x"]]),
        (["runs/a", "runs/b"], [["x"], ["x"]]),
        (["runs/a", "runs/a"], [["x", "x"]]),
    ],
)
def test_folders_and_runs(folders: list[str], names: list[list[str]]) -> None:
    """Parts of a run are one experiment; others are experiments of their own."""
    writers = [SummaryWriter(folder) for folder in folders]
    for number, writer in enumerate(writers):
        writer.add_scalar("x", 1, number)
    for writer in writers:
        writer.close()
        writer.close()
    assert [[name for _, metrics in steps(each) for name in metrics] for each in all_recorded()] == names


def test_names_and_folders(tmp_path: Path) -> None:
    """The folder is made, as scripts save files there."""
    for writer in (SummaryWriter(tmp_path / "wide"), SummaryWriter(comment="_deep"), SummaryWriter(logdir="old")):
        assert os.path.isdir(writer.get_logdir())
        assert writer.get_logdir() == writer.log_dir
        writer.close()
    assert [experiment.name for experiment in all_recorded()] == ["wide", "deep", "old"]


def test_further_hyperparameters_are_a_child() -> None:
    with SummaryWriter("runs/search") as writer:
        for lr in (0.1, 0.2, 0.2):
            writer.add_hparams({"lr": lr}, {"score": lr * 2})
    first, *others = all_recorded()
    assert (first.params, steps(first)) == ({"lr": 0.1}, [(0, {"score": 0.2})])
    assert [(each.params, each.parent, each.path) for each in others] == [({"lr": 0.2}, first.id, None)] * 2


def test_arguments_of_tensorboardx() -> None:
    """It has other ones than PyTorch's writer, and hparams have their name in third place."""
    with SummaryWriter("runs/x", write_to_disk=True, comet_config={"disabled": True}) as writer:
        writer.add_scalar("loss", 1, 3, display_name="Loss", summary_description="of the training")
        writer.add_scalars("group", {"a": 1}, 3, walltime=1.5)
        writer.add_hparams({"lr": 1}, {"score": 1}, "first", 3)
        writer.add_hparams({"lr": 2}, {"score": 2}, name="second", global_step=4)
        writer.file_writer.add_summary(object())
        assert writer.logdir == writer.log_dir
    first, second = all_recorded()
    assert steps(first) == [(3, {"loss": 1, "group/a": 1, "score": 1})]
    assert (second.name, steps(second)) == ("second", [(4, {"score": 2})])


def test_a_figure_is_closed() -> None:
    """As by TensorBoard's writer, since open figures take memory."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="`make install` installs it")
    figures = [pyplot.figure() for _ in range(4)]
    with SummaryWriter("runs/x") as writer:
        writer.add_figure("one", figures[0], 0)
        writer.add_figure("two", figure=figures[1:3])
        writer.add_figure("kept", figures[3], close=False)
    assert pyplot.get_fignums() == [figures[3].number]
    pyplot.close(figures[3])


def test_purge_step_goes_on_with_a_run_that_failed() -> None:
    writer = SummaryWriter("runs/x")
    for step in range(4):
        writer.add_scalar("loss", step, step)
    with pytest.raises(ZeroDivisionError), writer:
        1 / 0  # noqa: B018
    with SummaryWriter("runs/x", purge_step=2) as writer:
        for step in range(2, 5):
            writer.add_scalar("loss", step * 10, step)
    assert steps(recorded()) == [(0, {"loss": 0}), (1, {"loss": 1}), *((n, {"loss": n * 10}) for n in (2, 3, 4))]


def test_a_closed_writer_may_go_on() -> None:
    writer = SummaryWriter("runs/x")
    writer.close()
    writer.add_scalar("late", 1, 0)
    assert writer.experiment is not None
    writer.experiment.stop()
    assert steps(recorded()) == [(0, {"late": 1})]


def test_what_a_writer_does_not_record(capsys: pytest.CaptureFixture[str]) -> None:
    with SummaryWriter("runs/x") as writer:
        for _ in range(2):
            for name in tensorboard.NOT_RECORDED:
                getattr(writer, name)("tag", object(), 1)
        with pytest.raises(AttributeError, match="add_nonsense"):
            writer.add_nonsense  # noqa: B018
    errors = capsys.readouterr().err
    assert all(errors.count(f"not {kind}:") == 1 for kind in set(tensorboard.NOT_RECORDED.values()))
    assert steps(recorded()) == []


def test_nothing_is_raised_into_a_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KEEPSAKE_STRICT")
    wandb.log({"before": 1})
    run = wandb.init(config={"model": object})
    with SummaryWriter("runs/x") as writer:
        wrong: list[Callable[[], object]] = [
            lambda: writer.add_scalar("loss", 1, "first"),
            lambda: writer.add_scalar("loss", object(), 1),
            lambda: writer.add_hparams(3, {}),  # type: ignore[arg-type]
            lambda: run.log("no values"),  # type: ignore[arg-type]
            lambda: run.log({"a": 1}, step="first"),
            lambda: run.log_artifact("missing.pt"),
            lambda: run.config.update({"lr": {1: 2, "1": 3}}),
        ]
        for call in wrong:
            call()
    run.finish()
    assert "No run is open" in capsys.readouterr().err


def test_the_module_follows_its_run() -> None:
    assert open_run() is None
    run = wandb.init(
        name="a", tags="x", notes="n", project="p", config=SimpleNamespace(lr=0.1), settings=wandb.Settings()
    )
    assert open_run() is run
    assert wandb.init() is run, "one that is open is returned"
    assert (wandb.config.lr, wandb.config["lr"], "lr" in wandb.config) == (0.1, 0.1, True)
    with pytest.raises(AttributeError, match="There are: lr"):
        wandb.config.missing  # noqa: B018
    run.name, run.notes, run.tags = "b", "m", (*run.tags, "final")
    run.tags = tuple(tag for tag in run.tags if tag != "x")
    wandb.watch(object())
    wandb.finish()
    assert open_run() is None
    assert (recorded().name, recorded().notes, recorded().tags) == ("b", "m", ["project=p", "final"])


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NAME", "a"), ("TAGS", "x,y"), ("RUN_GROUP", "g"), ("PROJECT", "p")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.init(project="given").finish()
    assert (recorded().name, recorded().tags) == ("a", ["x", "y", "project=given", "group=g"])


def test_a_disabled_run_records_nothing() -> None:
    run = wandb.init(mode="disabled", config={"lr": 1})
    run.log({"a": 1})
    run.summary["b"] = 2
    run.config.lr = 3
    Path("model.pt").write_text("weights")
    assert wandb.save("model.pt") == ["model.pt"]
    wandb.finish()
    assert list(all_recorded()) == []
    assert not Path("wandb").exists()


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ({"config": "config.yaml"}, {"lr": 0.1, "depth": 3}),
        ({"config": {"a": 1, "b": 2}, "config_exclude_keys": ["a"]}, {"b": 2}),
        ({"config": {"a": 1, "b": 2}, "config_include_keys": ["a"]}, {"a": 1}),
    ],
)
def test_configs(arguments: dict[str, Any], params: dict[str, Any]) -> None:
    Path("config.yaml").write_text("wandb_version: 1\nlr:\n  value: 0.1\ndepth: 3\n")
    wandb.init(**arguments).finish()
    assert recorded().params == params


def test_a_run_that_fails() -> None:
    wandb.init().finish(exit_code=3)
    with pytest.raises(ZeroDivisionError), wandb.init():
        1 / 0  # noqa: B018
    assert [run.end_reason for run in all_recorded()] == ["exit status 3", "exception: ZeroDivisionError"]


def test_the_primary_metric_and_the_summary() -> None:
    run = wandb.init()
    run.define_metric("epoch")
    run.define_metric("loss", summary="min")
    for loss in (2.0, 1.0, 3.0):
        run.log({"loss": loss, "other": loss})
    assert (run.summary["loss"], run.summary.other) == (1.0, 3.0)
    run.finish()
    best = recorded().best()
    assert best is not None
    assert (best.step, recorded().primary_metric()) == (1, "loss")


def test_a_step_with_images_alone_is_no_checkpoint() -> None:
    run = wandb.init()
    run.log({"picture": wandb.Image(object())})
    run.log({"loss": 1})
    run.log({})
    run.log({"loss": 2})
    run.finish()
    assert steps(recorded()) == [(1, {"loss": 1}), (3, {"loss": 2})]


def test_a_saved_file_that_changes_is_saved_again_at_the_end() -> None:
    run = wandb.init()
    Path("model.pt").write_text("first")
    run.save("*.pt")
    Path("model.pt").write_text("second")
    os.utime("model.pt", (1, 1))
    run.finish()
    contents = []
    for checkpoint in recorded().checkpoints:
        with checkpoint.open("model.pt") as file:
            contents.append(file.read())
    assert contents == [b"first", b"second"]


def test_resuming() -> None:
    """The run goes on with its params and its steps, whatever its name was."""
    first = wandb.init(id="mine", resume="allow", config={"lr": 1})
    first.log({"a": 1})
    first.finish()
    second = wandb.init(id="mine", resume="must", config={"lr": 2, "new": 3})
    assert (second.resumed, second.step, second.summary["a"]) == (True, 1, 1)
    second.log({"a": 2})
    second.finish()
    assert steps(recorded()) == [(0, {"a": 1}), (1, {"a": 2})]
    assert recorded().params == {"lr": 2, "new": 3}
    with pytest.raises(keepsake.exceptions.KeepsakeError, match="Give another ID"):
        wandb.init(id="mine", resume="never")


def test_a_job_that_is_started_again_goes_on_after_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script says nothing of it."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for restart in range(2):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))
        run = wandb.init(config={"lr": 1})
        run.log({"a": restart})
        run.finish(exit_code=1)
    assert steps(recorded()) == [(0, {"a": 0}), (1, {"a": 1})]


def test_without_an_unfinished_run_auto_begins_one() -> None:
    run = wandb.init(resume="auto", config={"lr": 1})
    assert run.experiment is not None
    assert (run.resumed, run.experiment.params) == (False, {"lr": 1})
    run.finish()


def test_threads_that_log_at_once_have_a_step_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one value would replace another."""
    run = wandb.init()
    first = threading.Event()

    def slowly(values: Any) -> Any:
        found = plain_values(values)
        if not first.is_set():  # the first thread is interrupted by the second in the middle
            first.set()
            other.start()
            other.join(timeout=0.1)
        return found

    monkeypatch.setattr(wandb_run, "plain_values", slowly)
    other = threading.Thread(target=run.log, args=({"loss": 2},))
    run.log({"loss": 1})
    other.join()
    run.finish()
    assert steps(recorded()) == [(0, {"loss": 1}), (1, {"loss": 2})]
