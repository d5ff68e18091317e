"""`keepsake rm`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Run, World

QUESTION = "Do you want to continue? (y/N) "


@pytest.mark.parametrize("name", ["rm", "delete"])
def test_an_experiment_goes_with_all_that_is_its(three_runs: World, run: Run, name: str) -> None:
    result = run(name, "a37", input="y\n")
    assert (
        result.stdout == f"You are about to delete the following:\n* Experiment a37c2e9 (3 checkpoints)\n\n{QUESTION}"
    )
    assert result.stderr == (
        "═══╡ Experiment a37c2e9 is still running.\n═══╡ Removing experiment a37c2e9 and its checkpoints...\n"
    )
    assert three_runs.repository.kept() == {
        "repository.json",
        "experiments/b51e7a0f66.tar.gz",
        "metadata/experiments/b51e7a0f66.json",
        "metadata/experiments/c90d1f4e55.json",
    }


def test_of_a_checkpoint_the_files_go_and_the_metrics_stay(three_runs: World, run: Run) -> None:
    before = three_runs.repository.kept()
    result = run("rm", "-f", "9f0")
    assert (result.stdout, result.stderr) == ("", "═══╡ Removing checkpoint 9f02c7d...\n")
    assert three_runs.repository.kept() == before - {"checkpoints/9f02c7d300.tar.gz"}
    record: dict[str, Any] = json.loads(three_runs.repository.read("metadata/experiments/a37c2e9d04.json"))
    assert [c["path"] for c in record["checkpoints"]] == ["data", "", "data"]
    assert record["checkpoints"][1]["metrics"] == {"metric-1": 0.01, "metric-2": 2}


def test_the_list_names_each_thing_once(three_runs: World, run: Run) -> None:
    """An experiment's own checkpoint goes with it; the same ID may be given twice."""
    result = run("rm", "9f0", "a37", "b51", "a37c2e9", "d77", "c90", input="n\n", status=1)
    assert (
        result.stdout
        == f"""\
You are about to delete the following:
* Experiment a37c2e9 (3 checkpoints)
* Experiment b51e7a0 (1 checkpoint)
* Experiment c90d1f4 (0 checkpoints)

{QUESTION}"""
    )
    assert run("rm", "9f0", "5d8", "9f02c7d", input="n", status=1).stdout.count("* Checkpoint") == 2


def test_everything_is_found_before_anything_is_deleted(three_runs: World, run: Run) -> None:
    before = three_runs.repository.kept()
    assert "'zzz'" in run("rm", "-f", "a37", "zzz", status=1).stderr
    assert three_runs.repository.kept() == before


@pytest.mark.parametrize("answer", ["y\n", "Y", "yes\n", " y \n", "maybe\ny\n", "what\n?\nyes"])
def test_yes(three_runs: World, run: Run, answer: str) -> None:
    """Also without a line feed at the end, and after an unclear answer."""
    result = run("rm", "c90", input=answer)
    assert result.stdout.count(QUESTION) == result.stderr.count("Please enter 'y' or 'n'") + 1
    assert "metadata/experiments/c90d1f4e55.json" not in three_runs.repository.kept()


@pytest.mark.parametrize("answer", ["n\n", "N", "no", "\n", "maybe\n\n"])
def test_no(three_runs: World, run: Run, answer: str) -> None:
    before = three_runs.repository.kept()
    assert run("rm", "c90", input=answer, status=1).stderr.endswith("═══╡ Aborting.\n")
    assert three_runs.repository.kept() == before


@pytest.mark.parametrize("answer", ["", "maybe\n"])
def test_a_closed_stdin_names_the_way_out(three_runs: World, run: Run, answer: str) -> None:
    before = three_runs.repository.kept()
    assert "you need to pass the '-f' option" in run("rm", "c90", input=answer, status=1).stderr
    assert three_runs.repository.kept() == before
