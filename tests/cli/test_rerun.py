"""`keepsake rerun`: what it says before it runs anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import keepsake
from tests.cli.conftest import Run


@pytest.fixture
def id(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    (project_directory / "train.py").write_text("raise SystemExit(3)")
    with keepsake.init(path="train.py", quiet=True) as experiment:
        return experiment.short_id()


def test_a_dry_run_only_tells(run: Run, id: str) -> None:
    result = run("rerun", id, "--set", "lr=0.5", "-n", "--python", "python3", "--", "--epochs", "3")
    assert result.stdout == "python3 train.py --lr 0.5 --epochs 3\n"
    assert result.stderr == "═══╡ lr: 0.1 → 0.5\n"


def test_the_exit_status_is_that_of_the_command(run: Run, id: str, tmp_path: Path) -> None:
    result = run("rerun", id, "-o", str(tmp_path / "again"), status=3)
    assert result.stderr == f"═══╡ Running in {tmp_path / 'again'}: {sys.executable} train.py --lr 0.1\n"


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--set", "lr"], 2, "'lr' is not a setting. Write NAME=VALUE"),
        (["--set", "=1"], 2, "'=1' is not a setting"),
        (["--set", "momentum=1", "--set", "lr=1"], 1, "no option for 'momentum'"),
    ],
)
def test_a_wrong_setting_runs_nothing(run: Run, id: str, args: list[str], status: int, message: str) -> None:
    assert message in run("rerun", id, *args, status=status).stderr
