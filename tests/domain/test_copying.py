"""Copying experiments between a repository on disk and one in each place: `keepsake push` and `keepsake pull`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import keepsake
from keepsake.cli import cli
from keepsake.exceptions import ValidationError
from keepsake.experiment import Experiment
from keepsake.project import Project
from tests.storage.benches import Bench, DiskBench
from tests.storage.places import make_place


def run(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == status, done.output
    return done.stderr


@pytest.fixture
def repository(project_directory: Path) -> Bench:
    return DiskBench(project_directory / "repo")


@pytest.fixture(params=["file", "s3", "gs"])
def other(request: pytest.FixtureRequest, project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_place(request.param, project_directory / "other", monkeypatch)


@pytest.fixture
def experiments(project_directory: Path) -> list[Experiment]:
    for number in range(3):
        (project_directory / "model.pth").write_text(f"weights {number}" * 1000)
        experiment = keepsake.init(path="model.pth", params={"number": number})
        experiment.checkpoint(path="model.pth", metrics={"loss": number / 4})
        experiment.checkpoint(metrics={"loss": number / 8})
        experiment.stop()
    return keepsake.experiments.list()


def test_push_copies_everything_byte_for_byte(experiments: list[Experiment], repository: Bench, other: Bench) -> None:
    said = run("push", other.url)
    assert "Copied 3 experiments" in said
    assert other.contents() == repository.contents()


def test_pushing_again_copies_only_what_is_new(experiments: list[Experiment], repository: Bench, other: Bench) -> None:
    run("push", other.url)
    before = {info for info in other.storage.list("") if info.key.endswith(".tar.gz")}
    experiments[0].checkpoint(path="model.pth", metrics={"loss": 7.0})
    experiments[0].stop()
    run("push", other.url)
    assert other.kept() == repository.kept()
    assert before < set(other.storage.list(""))
    copied = Project(repository=other.url).experiments.get(experiments[0].id)
    assert copied.checkpoints.metrics["loss"] == [0.0, 0.0, 7.0]


def test_only_what_is_named_is_copied(experiments: list[Experiment], other: Bench) -> None:
    run("push", other.url, experiments[1].short_id())
    assert [e.id for e in Project(repository=other.url).experiments.list()] == [experiments[1].id]
    run("push", other.url, "zzz", status=1)


def test_pull_is_the_other_direction_and_merges(experiments: list[Experiment], other: Bench) -> None:
    run("push", other.url)
    there = Project(repository=other.url)
    there.experiments.create(params={"theirs": True}).stop()
    added = there.experiments.get(experiments[0].id)
    added.checkpoint(metrics={"loss": 9.0})
    added.stop()
    experiments[0].checkpoint(metrics={"loss": 8.0})
    experiments[0].stop()
    run("pull", other.url)
    assert len(keepsake.experiments.list()) == 4
    assert set(keepsake.experiments.get(experiments[0].id).checkpoints.metrics["loss"]) == {0.0, 8.0, 9.0}


def test_a_copy_that_was_cut_off_goes_on_and_a_damaged_one_is_replaced(
    experiments: list[Experiment], repository: Bench, other: Bench
) -> None:
    run("push", other.url)
    archives = sorted(key for key in other.kept() if key.endswith(".tar.gz"))
    other.remove(archives[0])
    other.write(archives[1], other.read(archives[1])[:-10])
    run("push", other.url)
    assert other.contents() == repository.contents()


def test_an_archive_that_is_missing_is_said_and_the_rest_is_copied(
    experiments: list[Experiment], repository: Bench, other: Bench
) -> None:
    repository.remove(f"experiments/{experiments[0].id}.tar.gz")
    assert f"{experiments[0].short_id()} is not wholly copied" in run("push", other.url, status=1)
    assert other.contents() == repository.contents()


def test_a_repository_is_not_copied_onto_itself(experiments: list[Experiment]) -> None:
    with pytest.raises(ValidationError, match="own repository"):
        Project()._copy("file://repo", [], pull=False)
