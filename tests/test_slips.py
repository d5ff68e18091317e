"""Natural mistakes in a training script: each costs only what is wrong, and is reported once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import keepsake
from keepsake import Checkpoint, Experiment, exceptions

LOSS: dict[str, Any] = {"loss": 0.5}
MIN = ("loss", "minimize")
PRIMARY = {"name": "loss", "goal": "minimize"}

circle: list[Any] = []
circle.append(circle)


def loss_function() -> float:
    return 0.5


@dataclasses.dataclass
class Accuracy:
    """Stands for a metric of torchmetrics: an object that is called."""

    value: float

    def __call__(self) -> float:
        return self.value


class Slip(NamedTuple):
    """A call of checkpoint(), and what comes of it.

    Attributes:
        call: its arguments.
        says: what is said of it; "" if nothing is.
        left_out: what the end of the run says was left out; "" if nothing was.
        saved: fields of the checkpoint that differ from metrics of `LOSS` and nothing else; None: nothing is saved.
    """

    call: dict[str, Any]
    says: str
    left_out: str
    saved: dict[str, Any] | None = {}  # noqa: RUF012


SLIPS = {
    # The primary metric
    "min": Slip({"metrics": LOSS, "primary_metric": ("loss", "min")}, "", "", {"primary_metric": PRIMARY}),
    "minimum": Slip({"metrics": LOSS, "primary_metric": ("loss", "Minimum")}, "", "", {"primary_metric": PRIMARY}),
    "max": Slip(
        {"metrics": LOSS, "primary_metric": ("loss", "max")},
        "",
        "",
        {"primary_metric": {**PRIMARY, "goal": "maximize"}},
    ),
    "list": Slip({"metrics": LOSS, "primary_metric": ["loss", "minimize"]}, "", "", {"primary_metric": PRIMARY}),
    "dict": Slip({"metrics": LOSS, "primary_metric": PRIMARY}, "", "", {"primary_metric": PRIMARY}),
    "no such goal": Slip(
        {"metrics": LOSS, "primary_metric": ("loss", "lower")}, "or 'minimize', not 'lower'", "a primary metric"
    ),
    "goal is not a text": Slip({"metrics": LOSS, "primary_metric": ("loss", None)}, "not None", "a primary metric"),
    "goal first": Slip(
        {"metrics": LOSS, "primary_metric": ("minimize", "loss")}, "'minimize' is not among", "a primary metric"
    ),
    "only a name": Slip({"metrics": LOSS, "primary_metric": "loss"}, "must be a pair", "a primary metric"),
    "of three": Slip({"metrics": LOSS, "primary_metric": (*MIN, 1)}, "must be a pair", "a primary metric"),
    "misspelt": Slip(
        {"metrics": LOSS, "primary_metric": ("los", "min")}, "'los' is not among the metrics (loss)", "a primary metric"
    ),
    "name is not a text": Slip(
        {"metrics": LOSS, "primary_metric": ([], "min")}, "'[]' is not among", "a primary metric"
    ),
    "without metrics": Slip(
        {"step": 3, "primary_metric": MIN}, "(none)", "a primary metric", {"metrics": None, "step": 3}
    ),
    "a number as text": Slip(
        {"metrics": {"loss": "0.5"}, "primary_metric": MIN},
        "of type str ('0.5'). Only numbers can be compared. Record float() of it.",
        "",
        {"metrics": {"loss": "0.5"}, "primary_metric": PRIMARY},
    ),
    "several numbers": Slip(
        {"metrics": {"loss": np.array([1.0, 2.0])}, "primary_metric": MIN},
        "of type list",
        "",
        {"metrics": {"loss": [1.0, 2.0]}, "primary_metric": PRIMARY},
    ),
    "not a number": Slip(
        {"metrics": {"loss": None}, "primary_metric": MIN},
        "",
        "",
        {"metrics": {"loss": None}, "primary_metric": PRIMARY},
    ),
    # Metrics
    "an object": Slip({"metrics": {**LOSS, "a": object()}}, "metrics['a'] cannot be recorded", "metric 'a'"),
    "not called": Slip(
        {"metrics": {**LOSS, "a": loss_function}}, "loss_function), not a value. Record what", "metric 'a'"
    ),
    "not computed": Slip({"metrics": {**LOSS, "a": Accuracy(1.0)}}, "a Accuracy (", "metric 'a'"),
    "a generator": Slip({"metrics": {**LOSS, "a": (x for x in [1])}}, "of type generator", "metric 'a'"),
    "a circle": Slip({"metrics": {**LOSS, "a": circle}}, "contains itself", "metric 'a'"),
    "too large": Slip({"metrics": {**LOSS, "a": np.zeros(1_000_001)}}, "is too large", "metric 'a'"),
    "the primary metric itself": Slip(
        {"metrics": {"a": 1, "loss": object()}, "primary_metric": MIN},
        "['loss'] cannot",
        "metric 'loss'",
        {"metrics": {"a": 1}},
    ),
    "1 and '1'": Slip({"metrics": {1: 0.5, "1": 2}}, "the same as text: '1'", "metric '1'", {"metrics": {"1": 0.5}}),
    "a list": Slip({"metrics": [0.5], "loss": 0.5}, "metrics must be a dict", "metrics"),
    "a number": Slip({"metrics": 0.5, "loss": 0.5}, "metrics must be a dict", "metrics"),
    "pairs": Slip({"metrics": [("loss", 0.5)]}, "metrics must be a dict", "whole checkpoints", None),
    "given twice": Slip({"metrics": LOSS, "loss": 1}, "given twice", ""),
    "no number yet": Slip(
        {"metrics": {"loss": float("nan")}}, "", "", {"metrics": {"loss": pytest.approx(float("nan"), nan_ok=True)}}
    ),
    "of one element": Slip({"metrics": {"loss": np.array([0.5])}}, "", ""),
    "of 32 bits": Slip({"metrics": {"loss": np.float32(0.1)}}, "", "", {"metrics": {"loss": 0.1}}),
    "metrics as a dataclass": Slip({"metrics": Accuracy(0.5)}, "", "", {"metrics": {"value": 0.5}}),
    # Keywords
    "metric=": Slip(
        {"metric": LOSS}, "'metric' is recorded as a metric. If you mean metrics", "", {"metrics": {"metric": LOSS}}
    ),
    "primary_metrics=": Slip(
        {**LOSS, "primary_metrics": "loss"},
        "If you mean primary_metric",
        "",
        {"metrics": {**LOSS, "primary_metrics": "loss"}},
    ),
    "paths=": Slip({**LOSS, "paths": "."}, "If you mean path", "", {"metrics": {**LOSS, "paths": "."}}),
    "steps=": Slip({**LOSS, "steps": 3}, "If you mean step", "", {"metrics": {**LOSS, "steps": 3}}),
    "Step=": Slip({**LOSS, "Step": 3}, "If you mean step", "", {"metrics": {**LOSS, "Step": 3}}),
    "epoch=": Slip({**LOSS, "epoch": 3, "path_norm": 1.5}, "", "", {"metrics": {**LOSS, "epoch": 3, "path_norm": 1.5}}),
    # Steps
    "a whole float": Slip({"metrics": LOSS, "step": 3.0}, "", "", {"step": 3}),
    "of NumPy": Slip({"metrics": LOSS, "step": np.float32(3)}, "", "", {"step": 3}),
    "an array": Slip({"metrics": LOSS, "step": np.array([3])}, "", "", {"step": 3}),
    "half a step": Slip({"metrics": LOSS, "step": 0.5}, "step must be an int, not float: 0.5", "its step"),
    "a text": Slip({"metrics": LOSS, "step": "3"}, "step must be an int, not str: '3'", "its step"),
    "a bool": Slip({"metrics": LOSS, "step": True}, "step must be an int, not bool", "its step"),
    "no step yet": Slip({"metrics": LOSS, "step": float("nan")}, "step must be an int, not", "its step"),
    "beyond 64 bits": Slip({"metrics": LOSS, "step": 2**63}, "step must fit into 64 bits", "its step"),
    "only a wrong step": Slip({"step": "one"}, "step must be an int", "whole checkpoints", None),
    # Paths
    "missing": Slip({"metrics": LOSS, "path": "model.pt"}, "such file or directory: 'model.pt'", "its files"),
    "only missing": Slip({"path": "model.pt"}, "The checkpoint was not saved: No such file", "whole checkpoints", None),
    "missing, at a step": Slip(
        {"path": "model.pt", "step": 3}, "No such file", "its files", {"metrics": None, "step": 3}
    ),
    "empty": Slip({"metrics": LOSS, "path": ""}, "path is empty", "its files"),
    "an empty directory": Slip({"metrics": LOSS, "path": "empty"}, "No file to save in 'empty'", "its files"),
    "absolute": Slip({"metrics": LOSS, "path": "/etc/hosts"}, "'/etc/hosts' is outside", "its files"),
    "outside": Slip({"metrics": LOSS, "path": "../x"}, "must lie in the project directory: '../x'", "its files"),
    "no path": Slip({"metrics": LOSS, "path": 7}, "path must be a string, not int", "its files"),
    "a list of paths": Slip({"metrics": LOSS, "path": ["train.py"]}, "not list", "its files"),
    "metrics first": Slip({"path": LOSS}, "dict. Name the argument that is meant", "whole checkpoints", None),
    "a model": Slip({"metrics": LOSS, "path": Accuracy(1.0)}, "not Accuracy", "its files"),
    "a Path": Slip({"metrics": LOSS, "path": Path("train.py")}, "", "", {"path": "train.py"}),
    # All of it
    "much at once": Slip(
        {"path": "model.pt", "step": 1.5, "metrics": {**LOSS, "a": object()}, "primary_metric": ("b", "up")},
        "'b' is not among",
        "metric 'a' (twice), its step (twice), a primary metric (twice), its files (twice)",
    ),
}


@pytest.fixture
def experiment(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    (project_directory / "train.py").write_text("print('training')")
    (project_directory / "empty").mkdir()
    monkeypatch.delenv("KEEPSAKE_STRICT")
    return keepsake.init(quiet=True)


def fields(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    return {name: getattr(checkpoint, name) for name in ("metrics", "step", "path", "primary_metric")}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_costs_only_what_is_wrong(experiment: Experiment, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """It is said the first time, and how often it came is said when the run ends."""
    slip = SLIPS[name]
    nothing = {"metrics": LOSS, "step": 0, "path": None, "primary_metric": None}
    expected = None if slip.saved is None else nothing | slip.saved
    made = experiment.checkpoint(**slip.call)
    assert fields(made) == expected
    said = capsys.readouterr().err
    assert slip.says.lower() in said.lower()
    assert bool(said) == bool(slip.says)
    experiment.checkpoint(**slip.call)
    assert capsys.readouterr().err == ""
    experiment.stop()
    end = capsys.readouterr().err
    assert slip.left_out in end
    assert bool(end) == bool(slip.left_out)
    found = keepsake.experiments.get(experiment.id).checkpoints
    assert [fields(checkpoint) for checkpoint in found[:1]] == ([] if expected is None else [expected])
    assert len(found) == (0 if expected is None else 2)


@pytest.mark.parametrize("name", [name for name, slip in SLIPS.items() if slip.left_out])
def test_in_strict_mode_a_slip_raises(experiment: Experiment, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KEEPSAKE_STRICT", "1")
    if "must be a pair" in SLIPS[name].says or name == "empty":  # these were never errors
        assert experiment.checkpoint(**SLIPS[name].call) is not None
    else:
        with pytest.raises(exceptions.KeepsakeError):
            experiment.checkpoint(**SLIPS[name].call)
        assert len(experiment.checkpoints) == 0
    experiment.stop()


def test_a_cause_is_said_once_though_the_name_changes(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in range(3):
        experiment.checkpoint(path=f"model-{epoch}.pt", metrics=LOSS)
    assert capsys.readouterr().err.count("No such file or directory") == 1
    experiment.checkpoint(path="/model.pt", metrics=LOSS)
    assert "'/model.pt' is outside the project directory" in capsys.readouterr().err
    experiment.stop()
    assert "its files (4 times)" in capsys.readouterr().err


def test_an_absolute_path_in_the_project_is_recorded_as_relative(project_directory: Path, tmp_path: Path) -> None:
    """As Path(__file__).parent / "model.pth" is one, perhaps by way of a link."""
    (tmp_path / "link").symlink_to(project_directory, target_is_directory=True)
    (project_directory / "train.py").write_text("print('training')")
    experiment = keepsake.init(path=str(project_directory), quiet=True)
    for place in (project_directory, tmp_path / "link"):
        made = experiment.checkpoint(path=place / "train.py")
        assert made is not None
        assert made.path == "train.py"
    experiment.stop()
    assert keepsake.experiments.get(experiment.id).path == "."


def test_a_file_of_the_working_directory_is_told_from_that_of_the_project(
    project_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two files with one name, the one of the project is saved, which may be an old one."""
    monkeypatch.delenv("KEEPSAKE_STRICT")
    (project_directory / "old.pt").write_text("weights")
    for directory, remedy in (
        (project_directory / "out", f"write {os.path.join('out', '{}')!r}."),
        (tmp_path / "scratch", f"{tmp_path / 'scratch'}, is outside the project and cannot be saved."),
    ):
        directory.mkdir()
        monkeypatch.chdir(project_directory)
        experiment = keepsake.init(quiet=True)
        monkeypatch.chdir(directory)
        for name, problem in (("old.pt", "is taken from the project directory"), ("new.pt", "No such file")):
            Path(name).write_text("weights")
            made = experiment.checkpoint(path=name, metrics=LOSS)
            assert made is not None
            assert made.path == (name if name == "old.pt" else None)
            said = capsys.readouterr().err
            assert problem in said
            assert remedy.format(name) in said
        experiment.stop()
        capsys.readouterr()


def test_a_filter_that_is_none_is_an_error(experiment: Experiment) -> None:
    """`list({…}).delete()` must not delete everything."""
    for slip in ({"lr": 0.1}, ["lr = 0.1"], 3):
        with pytest.raises(exceptions.ValidationError, match="Give a text"):
            keepsake.experiments.list(slip)  # type: ignore[arg-type]
    assert [each.id for each in keepsake.experiments] == [experiment.id]
    experiment.stop()


def test_a_step_that_is_the_last_one_is_followed_by_itself(experiment: Experiment) -> None:
    """Keepsake 0.4.2 reads no record with a larger one."""
    experiment.checkpoint(step=2**63 - 1, **LOSS)
    last = experiment.checkpoint(**LOSS)
    assert last is not None
    assert last.step == 2**63 - 1
    experiment.stop()


# Whole scripts: what they say, and their exit status


class Script(NamedTuple):
    """A training script, what it says, and how many checkpoints are saved."""

    text: str
    says: list[str]
    status: int = 0
    saved: int = 1
    reason: str = "finished"
    environment: dict[str, str] = {}  # noqa: RUF012


NEVER_STOPPED = (
    "Experiment {id} of this process was not stopped and continues beside the new one. "
    "Call its stop(), or begin each with `with keepsake.init(…) as experiment:`."
)
SCRIPTS = {
    "all is well": Script(
        "e = keepsake.init(params={'lr': 0.1})\n"
        "for loss in (0.5, 0.25, 0.75): e.checkpoint(loss=loss, primary_metric=('loss', 'min'))",
        [
            "Creating experiment {id}...",
            "Experiment {id}: 3 checkpoints saved to {url}. The best is {best} (step 1, loss 0.25).",
        ],
        saved=3,
    ),
    "quiet": Script("keepsake.init(quiet=True).checkpoint(loss=0.5)", []),
    "verbose": Script(
        "keepsake.init().checkpoint(loss=0.5)",
        [
            "Creating experiment {id}...",
            "Creating checkpoint {last}...",
            "Experiment {id}: 1 checkpoint saved to {url}.",
        ],
        environment={"KEEPSAKE_VERBOSE": "1"},
    ),
    "debug": Script(
        "keepsake.init(debug=True).checkpoint(loss=0.5, quiet=True)",
        ["Creating experiment {id}...", "Experiment {id}: 1 checkpoint saved to {url}."],
    ),
    "offline": Script(
        "e = keepsake.init(path='train.py', debug=True); e.checkpoint(path='train.py')",
        [
            "Creating experiment {id}, kept in '{spool}' until `keepsake sync`...",
            "Creating checkpoint {last}, kept in '{spool}' until `keepsake sync`...",
            "Experiment {id}: 1 checkpoint kept in {spool}. `keepsake sync` sends it.",
        ],
        environment={"KEEPSAKE_OFFLINE": "1"},
    ),
    "nothing recorded": Script("keepsake.init()", ["Creating experiment {id}..."], saved=0),
    "with": Script(
        "with keepsake.init(quiet=True) as e: e.checkpoint(loss=0.5)\nassert e.end_reason == 'stopped' and e.ended",
        [],
        reason="stopped",
    ),
    "an error in with": Script(
        "with keepsake.init(quiet=True) as e: e.checkpoint(loss=0.5); raise LookupError('x')",
        ["LookupError: x"],
        status=1,
        reason="exception: LookupError",
    ),
    "an error that is caught": Script(
        "try:\n    with keepsake.init(quiet=True) as e: e.checkpoint(loss=0.5); 1 / 0\nexcept ArithmeticError: pass\n"
        "assert e.end_reason == 'exception: ZeroDivisionError'",
        [],
        reason="exception: ZeroDivisionError",
    ),
    "exit in with": Script(
        "with keepsake.init(quiet=True) as e: e.checkpoint(loss=0.5); raise SystemExit(3)",
        [],
        status=3,
        reason="exit status 3",
    ),
    "Ctrl-C in with": Script(
        "try:\n    with keepsake.init(quiet=True) as e: e.checkpoint(loss=0.5); raise KeyboardInterrupt\n"
        "except KeyboardInterrupt: assert e.end_reason == 'interrupted'",
        [],
        reason="interrupted",
    ),
    "never stopped": Script(
        "a = keepsake.init(quiet=True)\nfor _ in range(3): keepsake.init(quiet=True)\na.checkpoint(loss=0.5)",
        [NEVER_STOPPED],
    ),
    "a wrong init": Script(
        "keepsake.init(params={'net': object()})",
        ["keepsake.exceptions.ValidationError: params['net'] cannot be recorded: it is of type object"],
        status=1,
        saved=-1,
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_little_and_ends_as_it_would(project_directory: Path, name: str) -> None:
    script = SCRIPTS[name]
    (project_directory / "train.py").write_text(f"import keepsake\n{script.text}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KEEPSAKE_")}
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=project_directory,
        env={**environment, "PYTHONIOENCODING": "utf-8", **script.environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == script.status, done.stderr
    found = keepsake.experiments.list()
    if script.saved < 0:
        assert len(found) == 0
        assert done.stderr.splitlines()[-1].startswith(script.says[0])
        return
    first = found[0]
    names = {
        "id": first.short_id(),
        "url": first.project.repository_url,
        "spool": project_directory / ".keepsake" / "spool",
        "last": first.checkpoints and first.checkpoints[-1].short_id(),
        "best": (best := first.best()) and best.short_id(),
    }
    said = [line.removeprefix("═══╡ ") for line in done.stderr.splitlines() if line[0] in "═L"]
    assert said == [line.format(**names) for line in script.says]
    assert len(first.checkpoints) == script.saved
    assert first.end_reason == script.reason


def test_packages_are_those_of_the_script(project_directory: Path, run_python: Callable[[str], str]) -> None:
    """This holds for the second run, too, when Keepsake has imported what it needs itself."""
    program = """
import sys
import keepsake
with keepsake.init(path="keepsake.yaml") as first:
    assert keepsake.experiments.list()
assert {"isal", "pathspec", "xxhash"} & set(sys.modules)
import numpy
print(*first.python_packages)
with keepsake.init() as second:
    print(*second.python_packages)
print(*keepsake.experiments.get(second.id).python_packages)
"""
    assert run_python(program).splitlines() == ["keepsake", "keepsake numpy", "keepsake numpy"]
