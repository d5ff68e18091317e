"""`keepsake push` and `keepsake pull`, between a repository on disk and one in each place."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import keepsake
from keepsake.cli import cli
from keepsake.exceptions import ValidationError
from keepsake.experiment import Experiment
from keepsake.project import Project
from tests.importing.sources import write_mlflow_run
from tests.storage.benches import Bench, DiskBench
from tests.storage.places import make_place


def run(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == status, done.output
    return " ".join(done.stderr.replace("═══╡", "").split())


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


def kept(bench: Bench) -> dict[str, bytes]:
    return {key: bench.read(key) for key in bench.kept()}


def test_push_copies_everything_byte_for_byte(experiments: list[Experiment], repository: Bench, other: Bench) -> None:
    said = run("push", other.url)
    assert said.startswith(f"Created the repository {other.url}. Copied 3 experiments (")
    assert kept(other) == kept(repository)


def test_pushing_again_copies_only_what_is_new(experiments: list[Experiment], repository: Bench, other: Bench) -> None:
    run("push", other.url)
    before = {info for info in other.storage.list("") if info.key.endswith(".tar.gz")}
    assert run("push", other.url) == "Copied 3 experiments (no files were new)."
    experiments[0].checkpoint(path="model.pth", metrics={"loss": 7.0})
    experiments[0].stop()
    run("push", other.url)
    assert other.kept() == repository.kept()
    assert before < set(other.storage.list(""))
    copied = Project(repository=other.url).experiments.get(experiments[0].id)
    assert copied.checkpoints.metrics["loss"] == [0.0, 0.0, 7.0]


def test_only_what_is_named_is_copied(experiments: list[Experiment], other: Bench) -> None:
    one = experiments[1].short_id()
    assert "Copied 1 experiment (" in run("push", other.url, one, one, experiments[1].id)
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


def test_a_copy_that_was_cut_off_goes_on_and_a_damaged_one_is_mended(
    experiments: list[Experiment], repository: Bench, other: Bench
) -> None:
    run("push", other.url)
    archives = sorted(key for key in other.kept() if key.endswith(".tar.gz"))
    other.remove(archives[0])
    other.write(archives[1], other.read(archives[1])[:-10])
    run("push", other.url)
    assert kept(other) == kept(repository)


def test_a_missing_archive_is_reported_and_the_rest_is_copied(
    experiments: list[Experiment], repository: Bench, other: Bench
) -> None:
    missing = f"experiments/{experiments[0].id}.tar.gz"
    repository.remove(missing)
    said = run("push", other.url, status=1)
    assert f"{experiments[0].short_id()} is not fully copied. {repository.url}/{missing} is missing." in said
    assert said.endswith("Copied 2 experiments (2.3 kB of files were new). Not fully copied: 1.")
    assert kept(other) == kept(repository)


def test_a_damaged_archive_replaces_nothing_and_the_rest_is_copied(
    experiments: list[Experiment], repository: Bench, other: Bench
) -> None:
    """Whether or not the target has an intact copy already."""
    old, new = (f"checkpoints/{experiment.checkpoints[0].id}.tar.gz" for experiment in experiments[:2])
    run("push", other.url, experiments[0].id)
    whole = other.read(old)
    for key in (old, new):
        repository.write(key, repository.read(key)[:-300])
    said = run("push", other.url, status=1)
    for key in (old, new):
        assert f"{repository.url}/{key} is damaged" in said
    assert other.read(old) == whole
    assert other.kept() == repository.kept() - {new}
    run("pull", other.url, experiments[0].id)
    assert repository.read(old) == whole


def test_files_that_were_removed_at_the_target_stay_removed(experiments: list[Experiment], other: Bench) -> None:
    run("push", other.url)
    checkpoint = experiments[0].checkpoints[0].id
    run("-R", other.url, "rm", "-f", checkpoint)
    before = kept(other)
    assert run("push", other.url) == "Copied 3 experiments (no files were new)."
    assert kept(other) == before
    assert f"checkpoints/{checkpoint}.tar.gz" not in before


def test_experiments_that_were_removed_at_the_target_come_back_only_by_name(
    experiments: list[Experiment], repository: Bench, other: Bench
) -> None:
    run("push", other.url)
    run("-R", other.url, "rm", "-f", experiments[0].id, experiments[1].id)
    before = other.kept()
    assert f"Left out: 2 experiments that somebody removed from {other.url}." in run("push", other.url)
    assert other.kept() == before
    assert "Left out" not in run("push", other.url, experiments[0].id)
    assert "Left out: 1 experiment that" in run("push", other.url)
    assert other.kept() == {key for key in repository.kept() if key in before or experiments[0].id in key} | {
        f"checkpoints/{experiments[0].checkpoints[0].id}.tar.gz"
    }


@pytest.mark.parametrize("command", [("pull",), ("pull", "--thorough"), ("pull", "abcdef0")])
def test_a_place_without_a_repository_is_an_error_that_names_it(
    experiments: list[Experiment], repository: Bench, other: Bench, command: tuple[str, ...]
) -> None:
    before = repository.contents()
    said = run(command[0], other.url, *command[1:], status=1)
    assert f"There is no repository at {other.url}. Check the URL" in said
    assert repository.contents() == before
    assert other.listed() == set()


def test_before_the_first_run_there_is_nothing_to_push(project_directory: Path, other: Bench) -> None:
    assert "There is no repository at " in run("push", other.url, status=1)
    assert other.listed() == set()


def test_an_empty_repository_is_not_an_error(experiments: list[Experiment], other: Bench) -> None:
    other.write("repository.json", b'{"version":1}')
    assert run("pull", other.url) == "Copied 0 experiments (no files were new)."


def test_a_repository_is_not_copied_onto_itself(experiments: list[Experiment]) -> None:
    with pytest.raises(ValidationError, match="own repository"):
        Project().push("file://repo")


@pytest.mark.parametrize("what", ["pull", "import"])
def test_nothing_is_brought_into_the_mount_point_of_a_disk_that_is_not_mounted(
    experiments: list[Experiment], project_directory: Path, what: str
) -> None:
    """Whoever means a new repository deletes the note about the old one."""
    run("push", "file://copy")
    write_mlflow_run(project_directory / "mlruns", "key")
    source = "file://copy" if what == "pull" else "mlruns"
    repository = project_directory / "repo"
    repository.rename(project_directory / "away")
    repository.mkdir()
    assert "is gone. Check whether its disk is mounted" in run(what, source, status=1)
    assert list(repository.iterdir()) == []
    said = run(what, source, "-R", f"file://{repository}", status=1)
    note = project_directory / ".keepsake" / "spool" / "repositories.json"
    assert f"To begin a new repository there, delete {note}." in said
    note.unlink()
    run(what, source)
    assert (repository / "repository.json").exists()


def test_a_backup_disk_that_is_not_mounted_gets_no_new_repository(
    experiments: list[Experiment], project_directory: Path
) -> None:
    backup = project_directory / "backup"
    run("push", f"file://{backup}")
    backup.rename(project_directory / "away")
    backup.mkdir()
    assert "is gone. Check whether its disk is mounted" in run("push", f"file://{backup}", status=1)
    assert list(backup.iterdir()) == []
    backup.rmdir()
    (project_directory / "away").rename(backup)
    assert run("push", f"file://{backup}") == "Copied 3 experiments (no files were new)."


@pytest.mark.parametrize("what", ["pull", "import"])
def test_a_repository_that_only_copies_and_imports_have_filled_is_missed_too(
    project_directory: Path, tmp_path: Path, what: str
) -> None:
    keepsake.init(params={}).stop()
    repository, other = project_directory / "repo", tmp_path / "other"
    repository.rename(other)
    (project_directory / ".keepsake" / "spool" / "repositories.json").unlink()
    write_mlflow_run(project_directory / "mlruns", "key")
    source = f"file://{other}" if what == "pull" else "mlruns"
    run(what, source)
    repository.rename(tmp_path / "away")
    repository.mkdir()
    assert "is gone. Check whether its disk is mounted" in run(what, source, status=1)
    assert list(repository.iterdir()) == []


def test_a_repository_that_was_only_read_from_is_missed_too(
    experiments: list[Experiment], project_directory: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(project_directory / "repo", other)
    run("pull", f"file://{other}")
    other.rename(tmp_path / "away")
    other.mkdir()
    assert "is gone. Check whether its disk is mounted" in run("push", f"file://{other}", status=1)
    assert list(other.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no groups of this kind")
def test_what_remembers_a_repository_is_made_for_the_group_of_the_project(project_directory: Path) -> None:
    project_directory.chmod(0o775)
    before = os.umask(0o022)
    try:
        Project().workplace.view.ensure()
    finally:
        os.umask(before)
    assert (project_directory / ".keepsake").stat().st_mode & 0o070 == 0o070
