"""Running an experiment again: the command that is planned, what is refused, and one real run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import DoesNotExist, ValidationError
from keepsake.metadata import Record
from keepsake.project import Project
from keepsake.restoring.rerun import plan_rerun

FILES = {"train.py", "src/pkg/main.py", "src/tool.py", "a/same.py", "b/same.py"}


def record(command: str, launch: dict[str, str]) -> Record:
    return {"id": "e" * 64, "command": command, "launch": launch}


def planned(
    command: str, settings: dict[str, Any] | None = None, *more: str, launch: dict[str, str] | None = None
) -> tuple[str, str]:
    plan = plan_rerun(record(command, launch or {}), FILES, settings or {}, more, "python")
    return plan.directory, plan.command


# Which script, and from where


@pytest.mark.parametrize(
    ("command", "launch", "expected"),
    [
        ("train.py --lr 1", {}, (".", "python train.py --lr 1")),
        ("./train.py", {}, (".", "python train.py")),
        ("src/tool.py 'a b'", {}, (".", "python src/tool.py 'a b'")),
        ("tool.py", {"directory": "src"}, ("src", "python tool.py")),
        ("../train.py", {"directory": "src"}, ("src", "python ../train.py")),
        ("tool.py", {}, ("src", "python tool.py")),
        ("pkg/main.py", {}, ("src", "python pkg/main.py")),
        ("/home/kim/project/train.py -x", {}, (".", "python train.py -x")),
        ("/home/kim/project/src/pkg/main.py", {"directory": "src"}, ("src", "python pkg/main.py")),
        ("/p/src/pkg/main.py -x", {"directory": "src", "module": "pkg.main"}, ("src", "python -m pkg.main -x")),
        ("/p/b/same.py", {}, (".", "python b/same.py")),
        (r"'src\tool.py'", {}, (".", "python src/tool.py")),  # it ran on Windows
        (r"'C:\p\src\tool.py' -x", {}, (".", "python src/tool.py -x")),
    ],
)
def test_the_script_is_found_among_the_files(command: str, launch: dict[str, str], expected: tuple[str, str]) -> None:
    assert planned(command, launch=launch) == expected


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train.py --token '***'", r"holds a secret, which was recorded as \*\*\*.*keepsake checkout eeeeeee -o DIR"),
        ("notebooks/a.ipynb", "ran in the notebook"),
        ("", "did not run a script"),
        ("-c", "did not run a script"),
        ("'", "is damaged"),
        ("same.py", "not among the files"),
        ("other.py", "not among the files"),
        ("/usr/bin/pytest", "not among the files"),
    ],
)
def test_what_cannot_be_run_again_is_an_error_that_says_what_to_do(command: str, message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        planned(command)


# Settings


@pytest.mark.parametrize(
    ("command", "settings", "expected"),
    [
        ("--lr 0.1 --epochs 3", {"lr": 0.5}, "--lr 0.5 --epochs 3"),
        ("--lr=0.1", {"lr": "1e-3"}, "--lr=1e-3"),
        ("-lr 0.1", {"lr": 0.5}, "-lr 0.5"),
        ("--weight-decay 0.1", {"weight_decay": 0.5}, "--weight-decay 0.5"),
        ("--weight_decay 0.1", {"weight-decay": 0.5}, "--weight_decay 0.5"),
        ("--shift -0.1", {"shift": -3}, "--shift -3"),
        ("lr=0.1 optimizer.lr=0.2 +x=1 ++y=2", {"optimizer.lr": 3, "x": 4, "y": 5}, "lr=0.1 optimizer.lr=3 +x=4 ++y=5"),
        ("--lr 0.1 --lr 0.2", {"lr": 3}, "--lr 0.1 --lr 3"),
        ("--name a", {"name": "two words"}, "--name 'two words'"),
        ("--lr 0.1 -- --lr", {"lr": 3}, "--lr 3 -- --lr"),
    ],
)
def test_settings_are_changed_where_the_command_has_them(command: str, settings: dict[str, Any], expected: str) -> None:
    assert planned(f"train.py {command}", settings) == (".", f"python train.py {expected}")


@pytest.mark.parametrize("command", ["", "--epochs 3", "--lr", "--lr --epochs 3", "lr 0.1", "train=lr"])
def test_a_setting_that_the_command_lacks_is_an_error(command: str) -> None:
    with pytest.raises(ValidationError, match=r"(?s)no option for 'lr'.*-- --lr 0.5"):
        planned(f"train.py {command}", {"lr": 0.5})
    assert planned(f"train.py {command}", None, "--lr", "0.5")[1].endswith("--lr 0.5")


# A real run

TRAINING = """
import argparse, os, sys
import keepsake
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
arguments = parser.parse_args()
keepsake.init(path=".", params=vars(arguments)).checkpoint(metrics={"loss": arguments.lr})
sys.exit(int(os.environ.get("STATUS", 0)))
"""


def test_it_runs_again_in_a_fresh_directory(
    project_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = project_directory / "src"
    source.mkdir()
    (source / "train.py").write_text(TRAINING)
    subprocess.run([sys.executable, "train.py", "--lr", "0.1"], cwd=source, check=True)
    (source / "train.py").write_text("raise SystemExit('the code of today')")
    monkeypatch.setenv("STATUS", "7")
    project = Project()
    (first,) = project.experiments.list()
    status = project.rerun((first, None), {"lr": 0.5}, directory=tmp_path / "again")
    assert status == 7, capfd.readouterr().err
    _, second = project.experiments.list()
    assert (second.params, second.parent, second.command) == ({"lr": 0.5}, first.id, "train.py --lr 0.5")
    assert (second.end_reason, first.children()) == ("exit status 7", [second])
    assert os.listdir(tmp_path / "again" / "src") == ["train.py"]
    with pytest.raises(ValidationError, match="is not empty"):
        project.rerun((first, None), directory=tmp_path / "again")
    with pytest.raises(ValidationError, match="Cannot run /nowhere/python"):
        project.rerun((first, None), python="/nowhere/python")


def test_an_experiment_without_files_cannot_run_again(project_directory: Path) -> None:
    experiment = Project().experiments.create(quiet=True)
    experiment.stop()
    with pytest.raises(DoesNotExist, match="recorded without a path"):
        experiment.rerun()
