"""Restored code knows where it came from: the repository of its runs, and the checkpoint that they descend from."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake import Experiment, Project, config
from keepsake.exceptions import ConfigNotFound, DoesNotExist
from keepsake.origin import Origin, read_origin
from keepsake.project import undo_checkout

LINE = "is a checkout of "
ORIGIN = ".keepsake/origin.json"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_script", lambda: None)


@pytest.fixture(params=["file", "no file"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an experiment; its repository is relative, as that of nearly every keepsake.yaml."""
    directory = tmp_path / "project"
    directory.mkdir()
    if request.param == "file":
        (directory / "keepsake.yaml").write_text("repository: file://.keepsake\n")
    (directory / "train.py").write_text("lr = 0.1")
    monkeypatch.chdir(directory)
    record(path=".")
    return directory


def record(**arguments: str) -> Experiment:
    """Record a run of two checkpoints in the working directory."""
    experiment = Project().experiments.create(**arguments, quiet=True)  # type: ignore[arg-type]
    Path("model").write_text("weights")
    experiment.checkpoint(path="model", step=1, metrics={"loss": 1})
    experiment.checkpoint(step=2, metrics={"loss": 2})
    experiment.stop()
    return experiment


def only() -> Experiment:
    (experiment,) = Project().experiments.list()
    return experiment


def check_out(directory: str | Path | None = None, path: str | None = None) -> str:
    """Check out the first checkpoint; return its ID."""
    experiment = Project().experiments.list()[0]
    Project().checkout((experiment, experiment.checkpoints[0]), directory, path)
    return experiment.checkpoints[0].id


def test_a_copy_goes_on_with_the_repository_and_its_runs_are_children(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = check_out(tmp_path / "copy")
    original = only()
    monkeypatch.chdir(tmp_path / "copy")
    capsys.readouterr()
    assert only() == original
    assert capsys.readouterr().err.count(f"{tmp_path / 'copy'} {LINE}{parent[:7]} and uses its repository") == 1
    children = [record(path="."), record(path=".")]
    assert [child.parent for child in children] == [parent, parent]
    assert (Path("train.py").read_text(), os.path.exists(".keepsake/repository.json")) == ("lr = 0.1", False)
    assert LINE not in capsys.readouterr().err, "it is said once"
    monkeypatch.chdir(project)
    experiments = Project().experiments.list()
    assert experiments[0].children() == experiments[0].checkpoints[0].children() == experiments[1:] == children
    assert experiments[0].checkpoints[1].children() == experiments[1].children() == []
    with pytest.raises(DoesNotExist):
        children[0].open(ORIGIN)


@pytest.mark.parametrize("start", ["copy", "copy/below"])
def test_a_copy_within_the_project_is_a_project(project: Path, monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    """Otherwise its runs would save the files of the surrounding project."""
    parent = check_out("copy")
    Path("copy/train.py").write_text("lr = 0.2")
    Path("copy/below").mkdir()
    monkeypatch.chdir(project / start)
    child = record(path="train.py")
    with child.open("train.py") as file:
        assert (child.parent, file.read()) == (parent, b"lr = 0.2")
    monkeypatch.chdir(project)
    assert len(Project().experiments.list()) == 2


@pytest.mark.parametrize("path", [None, "model"])
def test_a_checkout_in_place_makes_the_next_run_a_child(project: Path, path: str | None) -> None:
    parent = check_out(path=path)
    assert read_origin(project) is not None
    assert record(path=".").parent == parent
    assert record(path=".").parent is None
    assert not os.path.exists(ORIGIN)


def test_undo_takes_the_origin_back_and_a_second_one_brings_it_again(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    check_out(copy)
    first = (copy / ORIGIN).read_text()
    Path("train.py").write_text("lr = 0.5")
    second = record(path=".")
    Project().checkout((second, None), copy)
    assert read_origin(copy) == Origin(**{**json.loads(first), "experiment": second.id, "checkpoint": None})
    undo_checkout(copy)
    assert (copy / ORIGIN).read_text() == first
    undo_checkout(copy)
    origin = read_origin(copy)
    assert origin is not None
    assert origin.id == second.id
    shutil.rmtree(copy)
    check_out(copy)
    undo_checkout(copy)
    assert not (copy / ORIGIN).exists()


def test_undo_of_a_checkout_that_found_all_files_as_they_are(project: Path) -> None:
    Project().checkout((only(), None))
    assert os.path.exists(ORIGIN)
    undo_checkout()
    assert not os.path.exists(ORIGIN)
    with pytest.raises(DoesNotExist, match="nothing to undo"):
        undo_checkout()


@pytest.mark.skipif(os.name == "nt", reason="links need a permission there")
def test_copies_that_share_their_place_by_a_link_have_an_origin_each(project: Path, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".keepsake").symlink_to(tmp_path / "large")
        check_out(tmp_path / name)
    origins = [read_origin(tmp_path / name) for name in ("one", "other")]
    assert [origin and Path(origin.directory).name for origin in origins] == ["one", "other"]
    undo_checkout(tmp_path / "one")
    assert read_origin(tmp_path / "one") is None
    assert read_origin(tmp_path / "other") is not None


def test_a_few_files_elsewhere_make_no_copy(project: Path, tmp_path: Path) -> None:
    check_out(tmp_path / "weights", path="model")
    assert not (tmp_path / "weights" / ORIGIN).exists()


def move_both(project: Path, copy: Path) -> Path:
    project.parent.rename(project.parent.with_name("moved"))
    return project.parent.with_name("moved") / "copy"


def move_copy(project: Path, copy: Path) -> Path:
    shutil.copytree(copy, project.parent / "far" / "away")
    shutil.rmtree(copy)
    return project.parent / "far" / "away"


@pytest.mark.parametrize("move", [move_both, move_copy])
def test_a_copy_that_was_moved_finds_the_repository_and_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    move: Callable[[Path, Path], Path],
) -> None:
    project = tmp_path / "here" / "project"
    project.mkdir(parents=True)
    (project / "keepsake.yaml").write_text("repository: file://my%20runs\n")
    monkeypatch.chdir(project)
    record(path=".")
    check_out("../copy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.chdir(move(project, tmp_path / "here" / "copy"))
    assert only().checkpoints[0].metrics == {"loss": 1}
    assert f"was made as {tmp_path / 'here' / 'copy'} and came here" in capsys.readouterr().err


def edit_configuration(copy: Path) -> None:
    (copy / "keepsake.yaml").write_text("repository: file://mine\n")


def make_repository(copy: Path) -> None:
    (copy / ".keepsake" / "repository.json").write_text('{"version": 1}')


def delete_origin(copy: Path) -> None:
    (copy / ORIGIN).unlink()


def damage_origin(copy: Path) -> None:
    (copy / ORIGIN).write_text('{"experiment": 5}')


@pytest.mark.parametrize("change", [edit_configuration, make_repository, delete_origin, damage_origin])
def test_a_repository_of_the_copys_own_counts(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    check_out(tmp_path / "copy")
    change(tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    try:
        assert Project().experiments.list() == []
    except ConfigNotFound:
        assert not Path("keepsake.yaml").exists()


def test_a_configuration_that_did_not_come_with_the_checkout_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory is another project, which has no runs yet."""
    monkeypatch.chdir(tmp_path)
    for name in ("project", "other"):
        Path(name).mkdir()
        Path(name, "keepsake.yaml").write_text("repository: file://runs\n")
    monkeypatch.chdir(tmp_path / "project")
    Path("train.py").touch()
    record(path="train.py")
    check_out("../other")
    monkeypatch.chdir(tmp_path / "other")
    assert Project().experiments.list() == []
    assert record(path="train.py").parent is not None


def test_the_origin_of_another_user_is_named(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_out(tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    is_origin = (tmp_path / "copy" / ORIGIN).stat().st_ino
    monkeypatch.setattr(config, "owner_of", lambda status: "mallory" if status.st_ino == is_origin else "")
    assert len(Project().experiments.list()) == 1
    assert f"{tmp_path / 'copy' / ORIGIN} belongs to mallory and decides where" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_that_a_stranger_has_put_above_a_project_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / ".keepsake").mkdir()
    os.mkfifo(tmp_path / ORIGIN)
    found: list[object] = []
    reading = threading.Thread(target=lambda: found.append(config.find_place(tmp_path / "project")), daemon=True)
    reading.start()
    reading.join(5)
    if reading.is_alive():  # it waits for a writer
        os.close(os.open(tmp_path / ORIGIN, os.O_WRONLY))
    assert found == [None]


def test_a_parent_in_another_repository_is_recorded(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = check_out(tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("KEEPSAKE_REPOSITORY", f"file://{tmp_path}/shared")
    assert record().parent == parent
