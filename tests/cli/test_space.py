"""`keepsake du` and `keepsake prune`: what they say, and ask."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import keepsake
from tests.cli.conftest import Run


@pytest.fixture
def id(project_directory: Path) -> str:
    Path("model").write_bytes(os.urandom(10_000))
    with keepsake.init(quiet=True) as experiment:
        for loss in (3, 1, 2, 4):
            experiment.checkpoint(path="model", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
    return experiment.short_id()


def archives() -> int:
    return len(os.listdir("repo/checkpoints"))


def test_du_lists_experiments_and_the_total(run: Run, id: str) -> None:
    result = run("du")
    header, row, total = result.stdout.splitlines()
    assert header.split() == ["EXPERIMENT", "SIZE", "CODE", "CHECKPOINTS"]
    assert re.fullmatch(rf"{id} +4\d\.\d kB +4\d\.\d kB \(4\)", row)
    assert re.fullmatch(r"total +4\d\.\d kB", total)
    usage = json.loads(run("du", "--json").stdout)
    assert usage["total"] == usage["experiments"][0]["size"] + usage["other"]
    assert usage["experiments"][0]["archives"] == 4


def test_du_names_a_record_that_cannot_be_read(run: Run, id: str) -> None:
    Path(f"repo/metadata/experiments/{'b' * 64}.json").write_text("{")
    result = run("du")
    assert "b" * 64 in result.stderr
    assert "bbbbbbb" not in result.stdout


def test_prune_lists_asks_and_deletes(run: Run, id: str) -> None:
    listed = run("prune", "--keep", "best:1,last:1", "-n").stdout
    assert re.search(rf"^{id}     2       2\d\.\d kB  2$", listed, re.MULTILINE)
    assert re.search(r"^total: 2\d\.\d kB$", listed, re.MULTILINE)
    assert run("prune", "--keep", "best:1,last:1", input="n\n", status=1).stdout.startswith(listed)
    assert archives() == 4
    result = run("prune", id, "--keep", "best:1,last:1", input="y\n")
    assert re.search(r"Pruned 2 checkpoints \(2\d\.\d kB\). Metrics stay.\n$", result.stderr)
    assert archives() == 2
    assert run("prune", "--keep", "best:1,last:1", "-f").stderr == "═══╡ Nothing to prune.\n"
    assert len(keepsake.experiments.get(id).checkpoints) == 4


def test_show_says_what_was_pruned(run: Run, id: str) -> None:
    run("prune", "--keep", "best", "-f")
    first = keepsake.experiments.get(id).checkpoints[0].short_id()
    assert re.search(r"^Path: +pruned \(model, on \d{4}-\d\d-\d\d\)$", run("show", first).stdout, re.MULTILINE)
    assert "pruned" in run("checkout", first, "-o", "out", status=1).stderr


def test_a_file_from_before_the_run_does_not_stand_for_a_pruned_one(project_directory: Path, run: Run) -> None:
    """The experiment has saved the weights that an earlier run left behind."""
    Path("train.py").touch()
    Path("model").mkdir()
    Path("model/weights").write_text("of an earlier run")
    with keepsake.init(path=".", quiet=True) as experiment:
        for loss in (2, 1):
            Path("model/weights").write_text(f"of loss {loss}")
            experiment.checkpoint(path="model", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
    first, best = (checkpoint.short_id() for checkpoint in experiment.checkpoints)
    run("prune", "--keep", "best", "-f")
    assert run("cat", best, "model/weights").stdout == "of loss 1"
    assert "were pruned (model," in run("cat", first, "model/weights", status=1).stderr
    assert "model" not in run("files", first).stdout
    run("checkout", first, "-o", "out")
    assert Path("out/train.py").exists()
    assert not Path("out/model").exists()


@pytest.mark.parametrize(("args", "status"), [([], 2), (["--keep", "all"], 1), (["zzz", "--keep", "best"], 1)])
def test_a_wrong_call_deletes_nothing(run: Run, id: str, args: list[str], status: int) -> None:
    run("prune", "-f", *args, status=status)
    assert archives() == 4
