"""Copying experiments between repositories: `keepsake push` and `keepsake pull`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import ValidationError
from keepsake.experiment import Experiment


def run(*arguments: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "keepsake", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stderr


def contents(repository: Path) -> dict[str, bytes]:
    return {p.relative_to(repository).as_posix(): p.read_bytes() for p in repository.rglob("*") if p.is_file()}


@pytest.fixture
def experiments(project_directory: Path) -> list[Experiment]:
    for number in range(3):
        (project_directory / "model.pth").write_text(f"weights {number}" * 1000)
        experiment = keepsake.init(path="model.pth", params={"number": number})
        experiment.checkpoint(path="model.pth", metrics={"loss": number / 4})
        experiment.checkpoint(metrics={"loss": number / 8})
        experiment.stop()
    return keepsake.experiments.list()


def test_push_copies_everything_byte_for_byte(experiments: list[Experiment], project_directory: Path) -> None:
    said = run("push", "file://other")
    assert "Copied 3 experiments" in said
    assert contents(project_directory / "other") == contents(project_directory / "repo")


def test_pushing_again_copies_only_what_is_new(experiments: list[Experiment], project_directory: Path) -> None:
    run("push", "file://other")
    times = {path: path.stat().st_mtime_ns for path in (project_directory / "other").rglob("*.tar.gz")}
    experiments[0].checkpoint(path="model.pth", metrics={"loss": 7.0})
    experiments[0].stop()
    run("push", "file://other")
    assert contents(project_directory / "other").keys() == contents(project_directory / "repo").keys()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    other = keepsake.Project(repository="file://other").experiments.get(experiments[0].id)
    assert other.checkpoints.metrics["loss"] == [0.0, 0.0, 7.0]


def test_only_what_is_named_is_copied(experiments: list[Experiment], project_directory: Path) -> None:
    run("push", "file://other", experiments[1].short_id())
    assert [e.id for e in keepsake.Project(repository="file://other").experiments.list()] == [experiments[1].id]
    run("push", "file://other", "zzz", status=1)


def test_pull_is_the_other_direction_and_merges(experiments: list[Experiment], project_directory: Path) -> None:
    run("push", "file://other")
    other = keepsake.Project(repository="file://other")
    theirs = other.experiments.create(params={"theirs": True})
    theirs.stop()
    added = other.experiments.get(experiments[0].id)
    added.checkpoint(metrics={"loss": 9.0})
    added.stop()
    experiments[0].checkpoint(metrics={"loss": 8.0})
    experiments[0].stop()
    run("pull", "file://other")
    assert len(keepsake.experiments.list()) == 4
    assert set(keepsake.experiments.get(experiments[0].id).checkpoints.metrics["loss"]) == {0.0, 8.0, 9.0}


def test_a_copy_that_was_cut_off_goes_on_and_a_damaged_one_is_replaced(
    experiments: list[Experiment], project_directory: Path
) -> None:
    run("push", "file://other")
    archives = sorted((project_directory / "other").rglob("*.tar.gz"))
    archives[0].unlink()
    archives[1].write_bytes(archives[1].read_bytes()[:-10])
    run("push", "file://other")
    assert contents(project_directory / "other") == contents(project_directory / "repo")


def test_an_archive_that_is_missing_is_said_and_the_rest_is_copied(
    experiments: list[Experiment], project_directory: Path
) -> None:
    (project_directory / f"repo/experiments/{experiments[0].id}.tar.gz").unlink()
    assert f"{experiments[0].short_id()} is not wholly copied" in run("push", "file://other", status=1)
    assert contents(project_directory / "other") == contents(project_directory / "repo")


def test_a_repository_is_not_copied_onto_itself(experiments: list[Experiment]) -> None:
    with pytest.raises(ValidationError, match="own repository"):
        keepsake.Project()._copy("file://repo", [], pull=False)
