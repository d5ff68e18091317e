"""A missing repository is not an empty one: a user who names such a place gets an error."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import KeepsakeError
from tests.cli.conftest import Run, World, experiment, on_disk
from tests.storage.benches import Bench

COMMANDS: dict[str, list[str]] = {
    "ls": ["ls"],
    "ls as JSON": ["ls", "--json"],
    "ls of IDs": ["ls", "-q"],
    "ps": ["ps"],
    "show": ["show", "abc"],
    "diff": ["diff", "abc", "def"],
    "checkout": ["checkout", "abc", "-o", "."],
    "rm": ["rm", "-f", "abc"],
    "doctor": ["doctor"],
    "doctor that repairs": ["doctor", "--fix"],
    "sync": ["sync"],
    "push": ["push", "file://elsewhere"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_that_is_not_a_repository(place: Bench, project_directory: Path, run: Run, command: str) -> None:
    keepsake.init().stop()
    nope = f"{place.url}/nope"
    kept = place.kept()
    result = run("-R", nope, *COMMANDS[command], status=1)
    assert result.stdout == ""
    assert f"There is no repository at {nope}. Check the URL" in result.stderr
    assert place.kept() == kept
    assert not (project_directory / "elsewhere").exists()


@on_disk
@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"push"}))
def test_the_repository_of_earlier_runs_is_gone(place: Bench, project_directory: Path, run: Run, command: str) -> None:
    """Its folder was renamed, or its disk is not mounted. That is not a project without runs."""
    (project_directory / "keepsake.yaml").write_text("repository: file://runs\n")
    keepsake.init().stop()
    (project_directory / "runs").rename(project_directory / "renamed")
    result = run(*COMMANDS[command], status=1)
    assert (result.stdout, "The repository at file://" in result.stderr, "is gone" in result.stderr) == ("", True, True)
    assert not (project_directory / "runs").exists()


def test_pulling_from_a_place_that_is_not_a_repository(place: Bench, project_directory: Path, run: Run) -> None:
    result = run("pull", f"{place.url}/nope", status=1)
    assert f"There is no repository at {place.url}/nope" in result.stderr
    assert place.kept() == set()


@on_disk
@pytest.mark.parametrize("below", ["", "/deeper/down"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_where_a_repository_should_be(
    place: Bench, project_directory: Path, run: Run, command: str, below: str
) -> None:
    file = project_directory / "file"
    file.write_text("mine")
    for settings in (["-R", f"file://file{below}"], []):
        if not settings:
            (project_directory / "keepsake.yaml").write_text(f"repository: file://file{below}\n")
        result = run(*settings, *COMMANDS[command], status=1)
        assert result.stdout == ""
        assert f"{file}{below} does not name a folder: {file} is a file." in result.stderr
    with pytest.raises(KeepsakeError, match="is a file"):
        keepsake.init()
    assert file.read_text() == "mine"


def test_the_projects_own_repository_before_its_first_run(place: Bench, project_directory: Path, run: Run) -> None:
    assert run("ls").output == "═══╡ No experiments found.\n"
    assert run("ps").output == "═══╡ No running experiments found.\n"
    assert run("ls", "--json").output == "[]\n"
    assert run("sync").output == "═══╡ Everything is in the repository.\n"
    assert keepsake.experiments.list() == []
    assert place.kept() == set()


def test_a_script_may_list_a_new_repository_before_it_adds_to_it(
    place: Bench, project_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = keepsake.Project(repository=f"{place.url}/new")
    assert project.experiments.list() == []
    assert capsys.readouterr().err.count("There is no repository at") == 1
    project.experiments.create().stop()
    assert len(project.experiments.list()) == 1
    assert "There is no repository" not in capsys.readouterr().err


def test_runs_that_wait_for_a_new_repository_are_listed(
    place: Bench, project_directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{place.url}/new"
    with monkeypatch.context() as offline:
        offline.setenv("KEEPSAKE_OFFLINE", "1")
        keepsake.Project(repository=url).experiments.create().stop()
    assert len(run("ls", "-R", url, "-q").stdout.split()) == 1


def test_records_without_a_spec_are_a_repository(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0))
    world.repository.remove("repository.json")
    assert run("ls", "-q", "-R", world.repository.url).stdout == "e100000000\n"


@on_disk
def test_a_run_whose_repository_is_gone_says_once_that_it_waits(
    place: Bench, project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its record, its files and its checkpoints meet the same error."""
    monkeypatch.delenv("KEEPSAKE_STRICT", raising=False)
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "0.5")
    (project_directory / "keepsake.yaml").write_text("repository: file://runs\n")
    keepsake.init().stop()
    (project_directory / "runs").rename(project_directory / "renamed")
    (project_directory / "model").touch()
    with keepsake.init(path=".") as experiment:
        experiment.checkpoint(path="model", metrics={"loss": 1.0})
    assert capsys.readouterr().err.count(f"{experiment.id}, and sending is tried again") == 1
    (project_directory / "renamed").rename(project_directory / "runs")
    keepsake.default_project.sync()
    assert [each.step for each in keepsake.experiments.get(experiment.id).checkpoints] == [0]
