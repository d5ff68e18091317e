"""The callbacks where their frameworks are not installed."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import MissingExtra
from keepsake.integrations.recorder import Recorder


@pytest.mark.parametrize(
    ("module", "packages", "command"),
    [
        ("keepsake.accelerate", ["accelerate"], "pip install accelerate"),
        ("keepsake.hydra", ["hydra", "omegaconf"], "pip install hydra-core"),
        ("keepsake.keras", ["keras"], "pip install keras"),
        ("keepsake.keras_callback", ["keras"], "pip install keras"),
        ("keepsake.lightning", ["lightning", "pytorch_lightning"], "pip install lightning"),
        ("keepsake.pl_callback", ["lightning", "pytorch_lightning"], "pip install lightning"),
        ("keepsake.transformers", ["transformers"], "pip install transformers"),
        ("keepsake.xgboost", ["xgboost"], "pip install xgboost"),
    ],
)
def test_without_frameworks(monkeypatch: pytest.MonkeyPatch, module: str, packages: list[str], command: str) -> None:
    """The error is the command that installs what is missing."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)  # which makes importing it fail
    for name in [name for name in sys.modules if name == module or name.startswith("keepsake.integrations.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match=command):
        importlib.import_module(module)
    assert module not in sys.modules


LIGHTNING = """
import sys, types
lightning, pytorch = types.ModuleType("lightning"), types.ModuleType("lightning.pytorch")
lightning.__path__ = pytorch.__path__ = []
pytorch.Callback = type("Callback", (), {})
sys.modules.update({"lightning": lightning, "lightning.pytorch": pytorch, "pytorch_lightning": None})
"""


def test_lightnings_callback_needs_no_logger(run_python: Callable[..., str]) -> None:
    """Nor does it need a model that knows its hyperparameters, as one that only looks like Lightning's does not."""
    program = """
from keepsake.lightning import KeepsakeCallback
callback = KeepsakeCallback(None)
callback.on_fit_start(types.SimpleNamespace(is_global_zero=True, fast_dev_run=False), None)
print(callback.experiment.status)
"""
    assert run_python(LIGHTNING + program).split() == ["running"]


def test_a_training_of_lightning_that_failed_is_ended_by_the_next(
    project_directory: Path, run_python: Callable[..., str]
) -> None:
    """As the trials of a study, each with a callback of its own."""
    program = """
from keepsake.lightning import KeepsakeCallback
trainer = types.SimpleNamespace(is_global_zero=True, fast_dev_run=False)
first, second = KeepsakeCallback(None, path=None), KeepsakeCallback(None, path=None)
first.on_fit_start(trainer, None)
experiment = first.experiment
first.on_exception(trainer, None, ValueError())
second.on_fit_start(trainer, None)
experiment.refresh()
print(experiment.status, second.experiment.status)
"""
    assert run_python(LIGHTNING + program).split() == ["failed", "running"]


@pytest.mark.parametrize("module", ["catboost", "lightgbm", "optuna", "sklearn"])
def test_what_needs_no_framework_loads_none(run_python: Callable[..., str], module: str) -> None:
    """The object comes from the user, who has loaded it."""
    program = f"import sys, keepsake.{module}; print({module!r} in sys.modules, 'numpy' in sys.modules)"
    assert run_python(program).split() == ["False", "False"]


def test_without_keepsake_auto_lightning_gets_nothing(run_python: Callable[..., str]) -> None:
    """Nothing is loaded either, since Lightning asks for every Trainer of every program."""
    program = """
import sys
from keepsake.integrations.auto import lightning_callbacks
print(lightning_callbacks(), "torch" in sys.modules or "lightning" in sys.modules)
"""
    assert run_python(program).split() == ["[]", "False"]


def test_a_training_ends_the_runs_of_those_that_have_ended(project_directory: Path) -> None:
    """A training in the middle of another one does not end that."""
    outer, first, second = (Recorder(options={"path": None, "quiet": True}) for _ in range(3))
    outer.begin()
    for inner in (first, second):
        inner.begin()
        inner.record({"loss": 1})
        inner.end_of_training()
    assert [each.status for each in keepsake.experiments.list()] == ["running", "stopped", "running"]
    assert first.experiment is not None
    assert first.experiment.checkpoint(loss=2)
    for each in (outer, first, second):
        each.stop()
    assert [len(each.checkpoints) for each in keepsake.experiments.list()] == [0, 2, 1]


def test_training_that_cannot_go_on_with_its_run_begins_another_and_says_so(
    project_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run was removed, or was recorded in another repository."""
    recorder = Recorder(options={"path": None})
    recorder.begin(resume="f" * 64)
    assert recorder.experiment is not None
    assert recorder.experiment.parent is None
    said = capsys.readouterr().err
    assert "Experiment fffffff cannot go on, so this training is a new run. There is no experiment" in said
    recorder.stop()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda recorder: pickle.loads(pickle.dumps(recorder))])
def test_a_copy_of_a_callback_has_a_training_of_its_own(
    project_directory: Path, copied: Callable[[Recorder], Recorder]
) -> None:
    """Lightning's ddp_spawn and grid searches pickle callbacks, and scripts copy models with trainer and callbacks."""
    original = Recorder({"lr": 0.1}, ("loss", "minimize"), options={"path": None}, patience=60)
    original.begin()
    original.log({"loss": 1.0}, 0)
    other = copied(original)
    assert other.experiment is None
    other.begin()
    other.log({"loss": 2.0}, 0)
    for recorder in (original, other):
        recorder.stop()

    runs = keepsake.experiments.list()
    assert [(run.params, [checkpoint.metrics for checkpoint in run.checkpoints]) for run in runs] == [
        ({"lr": 0.1}, [{"loss": 1.0}]),
        ({"lr": 0.1}, [{"loss": 2.0}]),
    ]
