"""The module in the shape of W&B's: arguments by place, artifacts that are used again, and sweeps."""

from __future__ import annotations

import copy
import glob
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import keepsake.wandb as wandb
from tests.frameworks.reading import all_recorded, recorded

pytestmark = [pytest.mark.usefixtures("project_directory"), pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    wandb.finish()


def test_arguments_may_be_given_by_place() -> None:
    """As in W&B: the entity, the project, the directory, the ID, the name, notes, tags and the config."""
    run = wandb.init("team", "p", None, "mine", "a", "n", ["x"], {"lr": 0.1}, settings={}, anonymous="allow")
    assert run.path == "team/p/mine"
    run.finish()
    assert (recorded().name, recorded().notes, recorded().params) == ("a", "n", {"lr": 0.1})
    assert recorded().tags == ["x", "project=p", "id=mine"]


def test_an_artifact_of_this_program_can_be_used() -> None:
    with wandb.init() as run:
        artifact = wandb.Artifact("digits", "dataset")
        with artifact.new_file("data.txt") as file:
            file.write("1 2 3")
        run.log_artifact(artifact).wait()
        directory = wandb.use_artifact("team/p/digits:latest", type="dataset").download()
        assert Path(directory, "data.txt").read_text() == "1 2 3"
        assert Path(run.use_artifact(artifact).file("elsewhere")).read_text() == "1 2 3"
    path = recorded().latest()
    assert path is not None and path.path is not None  # noqa: PT018
    assert path.path.endswith("digits")


def test_what_a_run_has_no_counterpart_of(capsys: pytest.CaptureFixture[str]) -> None:
    with wandb.init() as run:
        for _ in range(2):
            run.link_artifact(object(), "registry")
            run.to_html(height=3)
        with pytest.raises(AttributeError, match="nonsense"):
            run.nonsense  # noqa: B018
    assert capsys.readouterr().err.count("link_artifact() of a run") == 1


def test_a_random_sweep() -> None:
    """Each run has values within their bounds; one that fails does not end the sweep, five in a row do."""
    drawn: list[dict[str, Any]] = []
    rules = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "layers": {"min": 1, "max": 3},
        "width": {"distribution": "q_uniform", "min": 16, "max": 64, "q": 16},
        "model": {"parameters": {"act": {"values": ["relu", "tanh"]}, "bias": {"value": True}}},
    }

    def train() -> None:
        run = wandb.init()
        drawn.append(dict(run.config))
        run.log({"loss": 1.0})
        if len(drawn) in (2, *range(5, 20)):
            raise ArithmeticError("no more")

    sweep = wandb.sweep({"method": "bayes", "metric": {"name": "loss", "goal": "minimize"}, "parameters": rules})
    wandb.agent(sweep, train, count=30)
    assert len(drawn) == 9
    assert [run.status for run in all_recorded()].count("failed") == 6
    assert [run.params for run in all_recorded()] == drawn
    assert {run.primary_metric() for run in all_recorded()} == {"loss"}
    for values in drawn:
        assert 1e-4 <= values["lr"] <= 1e-1
        assert values["layers"] in (1, 2, 3)
        assert values["width"] in (16, 32, 48, 64)
        assert (values["model"]["act"] in ("relu", "tanh"), values["model"]["bias"]) == (True, True)


def test_a_sweep_keeps_what_it_has_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts update the config with their defaults. Of nested values, the others stay."""

    def train() -> None:
        run = wandb.init(config={"lr": 9, "model": {"width": 9, "depth": 3}})
        wandb.config.update({"lr": 9, "batch": 2}, allow_val_change=True)
        wandb.config.lr = 8
        run.log({"loss": run.config.lr})

    rules = {"lr": {"values": [1, 2]}, "model": {"parameters": {"width": {"value": 5}}}}
    wandb.agent(wandb.sweep({"method": "grid", "parameters": rules}), train)
    model = {"width": 5, "depth": 3}
    assert [run.params for run in all_recorded()] == [{"lr": lr, "model": model, "batch": 2} for lr in (1, 2)]
    assert [run.latest().metrics for run in all_recorded()] == [{"loss": 1}, {"loss": 2}]
    assert capsys.readouterr().err.count("The sweep chooses 'lr'") == 1


def test_an_interrupted_sweep() -> None:
    def train() -> None:
        wandb.init()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wandb.agent(wandb.sweep({"parameters": {"lr": {"value": 1}}}), train)
    assert recorded().end_reason == "interrupted"


def test_a_run_beside_another() -> None:
    """`wandb.log()` stays with the first one."""
    wandb.init(name="first")
    second = wandb.init(name="second", reinit="create_new")
    wandb.log({"a": 1})
    second.log({"b": 2})
    second.finish()
    wandb.log({"a": 3})
    wandb.finish()
    first, other = all_recorded()
    assert [checkpoint.metrics for checkpoint in first.checkpoints] == [{"a": 1}, {"a": 3}]
    assert [checkpoint.metrics for checkpoint in other.checkpoints] == [{"b": 2}]


def test_a_cell_that_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook, init() ends the run before it, as in W&B."""
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    for lr in (1, 2):
        wandb.init(config={"lr": lr})
    wandb.finish()
    assert [run.params for run in all_recorded()] == [{"lr": 1}, {"lr": 2}]


def test_what_is_logged_to_a_run_that_has_ended_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    run = wandb.init(name="mine")
    run.finish()
    run.log({"late": 1})
    run.summary["late"] = 1
    assert capsys.readouterr().err.count("The run mine has ended, so nothing more is recorded in it") == 1


@pytest.mark.parametrize("change", ["deleted", "rewritten"])
def test_an_artifact_has_its_files_as_they_were_added(change: str) -> None:
    """As in W&B: scripts add a temporary file, or the best weights so far."""
    with wandb.init() as run:
        artifact = wandb.Artifact("model", "model")
        for name in ("model.pt", "data/x.txt"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text("best")
        artifact.add_file("model.pt")
        artifact.add_dir("data", "data")
        for name in ("model.pt", "data/x.txt"):
            Path(name).write_text("last one")
            if change == "deleted":
                Path(name).unlink()
        run.log_artifact(artifact)
    checkpoint = recorded().latest()
    contents = []
    for name in ("model.pt", "data/x.txt"):
        with checkpoint.open(f"{checkpoint.path}/{name}") as file:
            contents.append(file.read())
    assert contents == [b"best", b"best"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_a_copy_of_a_config_is_not_the_runs(copied: Callable[[Any], Any]) -> None:
    with wandb.init(config={"lr": 1}) as run:
        other = copied(run.config)
        other.lr = 2
        assert (other.lr, run.config.lr) == (2, 1)
    assert recorded().params == {"lr": 1}


def test_arrays_in_a_config() -> None:
    """Neither the beginning nor the values of the end fail because of them."""
    numpy = pytest.importorskip("numpy", reason="`make install` installs it")
    with wandb.init(config={"weights": numpy.arange(2)}) as run:
        run.config["more"] = numpy.arange(3)
        run.summary["best"] = 7
    assert recorded().params == {"weights": [0, 1], "more": [0, 1, 2]}
    assert recorded().latest().metrics == {"best": 7}


def test_a_file_that_cannot_be_saved_at_the_end_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEEPSAKE_STRICT")
    with wandb.init(config={"model": {"depth": 1}}) as run:
        run.save("*.txt", policy="end")
        run.config["model"]["depth"] = 2

        def fail(*_: Any, **__: Any) -> list[str]:
            raise OSError("broken")

        monkeypatch.setattr(glob, "glob", fail)
    assert recorded().params == {"model": {"depth": 2}}
    assert "A call of a run had no effect: OSError: broken" in capsys.readouterr().err


def test_a_run_that_goes_on_has_its_new_config(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing says that it keeps the old one."""
    for lr in (1, 2):
        wandb.init(id="mine", resume="allow", config={"lr": lr}).finish(exit_code=1)
    assert recorded().params == {"lr": 2}
    assert "keeps its own" not in capsys.readouterr().err


FORK = """
import multiprocessing
import keepsake.wandb as wandb

def work():
    wandb.log({"of": "parent"}, step=7)
    wandb.init(name="child", config={"a": 1}, reinit=True)
    wandb.log({"of": "child"})

run = wandb.init(name="parent")
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
run.log({"goes": "on"})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_process_may_begin_a_run_of_its_own(run_python: Callable[..., str]) -> None:
    """Until then, it logs to that of its parent, which goes on."""
    run_python(FORK)
    found = {run.name: sorted((each.step, each.metrics) for each in run.checkpoints) for run in all_recorded()}
    assert found == {"parent": [(0, {"goes": "on"}), (7, {"of": "parent"})], "child": [(0, {"of": "child"})]}
    assert {run.status for run in all_recorded()} == {"stopped"}


def test_the_copies_of_an_artifact_take_no_space_after_it_is_logged() -> None:
    """Trainings log one after each epoch, under other names."""
    run = wandb.init()
    for epoch in range(2):
        Path(f"{epoch}.pt").write_text("weights")
        artifact = wandb.Artifact(f"model-{epoch}", "model")
        artifact.add_file(f"{epoch}.pt")
        run.log_artifact(artifact)
        assert not Path("wandb").exists()
        assert Path(wandb.use_artifact(f"model-{epoch}").file("elsewhere")).read_text() == "weights"
    run.finish()
    assert [checkpoint.path for checkpoint in recorded().checkpoints] == ["0.pt", "1.pt"]
