"""`keepsake import`: what it says, and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.importing.sources import DATA, write_mlflow_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_mlflow_run(tmp_path / "old/mlruns", "a" * 32, metrics={"loss": [(1000, 0.5, 0)]}, files={"f": "x"})
    write_mlflow_run(tmp_path / "old/mlruns", "b" * 32, metrics={"loss": [(2000, 0.25, 0)]}, status=4)
    return tmp_path / "old/mlruns"


def test_it_says_what_comes_and_what_came(store: Path, project_directory: Path, run: Run) -> None:
    assert (
        run("import", str(store), "--dry-run").stderr == "═══╡ Would import 2 runs of mlflow (2 checkpoints, 1 file).\n"
    )
    assert run("ls", "-q").stdout == ""
    assert run("import", str(store)).stderr == "═══╡ Imported 2 runs of mlflow (2 checkpoints, 1 file).\n"
    again = run("import", str(store)).stderr
    assert again == "═══╡ Imported 0 runs of mlflow (0 checkpoints, 0 files). Unchanged: 2.\n"
    assert "failed" in run("ls").stdout


def test_it_names_what_has_no_place_here(project_directory: Path, run: Run) -> None:
    said = run("import", str(DATA / "runs"), "--no-files", "--metric", "loss", "--goal", "minimize").stderr
    assert said.splitlines()[-1] == "═══╡ Without a place here, so left where they are: histograms (1), texts (1)."
    assert "(step 3)" in run("ls").stdout


def test_a_damaged_run_does_not_keep_the_others_out(store: Path, project_directory: Path, run: Run) -> None:
    meta = next(store.rglob("b" * 32 + "/meta.yaml"))
    meta.write_text("{")
    result = run("import", str(store), status=1)
    assert f"{meta} is damaged" in result.stderr
    assert "Imported 1 run of mlflow" in result.stderr


def test_nothing_to_import_is_an_error(project_directory: Path, run: Run) -> None:
    for source, message in {
        "nowhere": f"There is nothing at {project_directory / 'nowhere'}.",
        ".": f"There are no runs of MLflow, W&B, trackio or TensorBoard in {project_directory}. Name a",
    }.items():
        assert message in run("import", source, status=1).stderr.replace("\n   │ ", " ")
