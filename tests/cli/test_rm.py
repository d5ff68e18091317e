"""`keepsake rm`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keepsake.cli import rm as command
from tests.cli.conftest import Run, World, at, checkpoint, experiment, on_disk

QUESTION = "Do you want to continue? (y/N) "


@pytest.mark.parametrize("name", ["rm", "delete", "remove"])
def test_an_experiment_is_removed_with_all_its_objects(three_runs: World, run: Run, name: str) -> None:
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


def test_the_files_of_a_checkpoint_go_and_its_metrics_stay(three_runs: World, run: Run) -> None:
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
def test_after_a_yes_it_deletes(three_runs: World, run: Run, answer: str) -> None:
    """An answer counts without a line feed at its end, and after an unclear one."""
    result = run("rm", "c90", input=answer)
    assert result.stdout.count(QUESTION) == result.stderr.count("Please enter 'y' or 'n'") + 1
    assert "metadata/experiments/c90d1f4e55.json" not in three_runs.repository.kept()


@pytest.mark.parametrize("answer", ["n\n", "N", "no", "\n", "maybe\n\n"])
def test_after_a_no_it_deletes_nothing(three_runs: World, run: Run, answer: str) -> None:
    before = three_runs.repository.kept()
    assert run("rm", "c90", input=answer, status=1).stderr.endswith("═══╡ Aborting.\n")
    assert three_runs.repository.kept() == before


@pytest.mark.parametrize("answer", ["", "maybe\n"])
def test_a_closed_stdin_names_the_way_out(three_runs: World, run: Run, answer: str) -> None:
    before = three_runs.repository.kept()
    assert "pass the '-f' option" in run("rm", "c90", input=answer, status=1).stderr
    assert three_runs.repository.kept() == before


def test_checkpoints_that_came_during_the_question_go_too(
    three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment that was removed meanwhile is not an error."""

    def answer() -> bool:
        later = checkpoint("e51e7a0f66", 0, 30, None, path="data")
        three_runs.add(experiment("b51e7a0f66", 60, later, path="."))
        three_runs.archive("checkpoints/e51e7a0f66", data__x="later")
        three_runs.repository.remove("metadata/experiments/c90d1f4e55.json")
        return True

    monkeypatch.setattr(command, "confirm", answer)
    run("rm", "b51", "c90")
    assert not any(id in key for key in three_runs.repository.kept() for id in ("b51e7a0f66", "e51e7a0f66", "c90d1f"))


def test_files_that_another_experiment_names_stay(three_runs: World, run: Run) -> None:
    """A record that was copied from a stranger may name anything."""
    three_runs.add(experiment("f00d1f4e55", 0, checkpoint("9f02c7d300", 0, 0, None, path="data")))
    before = three_runs.repository.kept()
    run("rm", "-f", "f00d1f4e55")
    assert three_runs.repository.kept() == before - {"metadata/experiments/f00d1f4e55.json"}


@on_disk
@pytest.mark.parametrize("id", ["-fffffff", "--force", "*******", "[-]f***"])
def test_an_id_cannot_be_an_option(three_runs: World, run: Run, id: str) -> None:
    """`keepsake rm $(keepsake ls -q)` would turn such an ID into an option."""
    three_runs.repository.write(f"metadata/experiments/{id}.json", f'{{"id": "{id}", "created": "{at(0)}"}}'.encode())
    listed = run("ls", "-q")
    assert id not in listed.stdout
    assert f"{id}.json" in listed.stderr
    assert "cannot be an id" in listed.stderr
    before = three_runs.repository.listed()
    run("rm", "-f", "--", id, status=1)
    assert three_runs.repository.listed() == before
