"""An import that is repeated: what did not change is not read, and whatever is new is noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keepsake.importing import found, importing
from keepsake.importing.importing import Imported
from keepsake.importing.merging import merge
from keepsake.project import Project
from keepsake.util.directories import cache_directory
from tests.importing.reading import only
from tests.importing.sources import write_mlflow_database, write_mlflow_run

KEY = "a" * 32


@pytest.fixture
def project(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(found, "SETTLED", -3600)  # files that were written just now count, too
    return Project(directory=project_directory)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_mlflow_run(
        tmp_path / "mlruns",
        KEY,
        params={"lr": "0.1"},
        metrics={"loss": [(1000, 0.5, 0)]},
        tags={"team": "blue"},
        files={"model/weights": "abc", "notes": "old"},
        status=1,
        end_time=None,
    )
    return tmp_path / "mlruns"


def folder_of(store: Path) -> Path:
    return store / "123456789012345678" / KEY


def counts(done: Imported) -> tuple[int, int, int, int, int]:
    return len(done.new), len(done.grown), len(done.same), done.checkpoints, done.files


def is_read(project: Project, source: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether an import reads a run, rather than trusting what it remembers."""
    read = []

    def merged(*arguments: Any) -> Any:
        read.append(1)
        return merge(*arguments)

    with monkeypatch.context() as context:
        context.setattr(importing, "merge", merged)
        assert counts(project.import_runs(source))[:3] == (0, 0, 1)
    return bool(read)


def test_what_did_not_change_is_not_read(project: Project, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder_of(store) / "artifacts/link").symlink_to(store)
    first = project.import_runs(store)
    assert not is_read(project, store, monkeypatch)
    again = project.import_runs(store)
    assert (again.warnings, again.left_out) == (first.warnings, first.left_out)
    assert len(first.warnings) == 1


def test_a_file_that_was_just_written_is_read_again(
    project: Project, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be written again without looking different."""
    monkeypatch.setattr(found, "SETTLED", 3600)
    project.import_runs(store)
    assert is_read(project, store, monkeypatch)


def test_a_database_is_read_when_it_or_its_files_change(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mlflow_database(tmp_path / "mlflow.db")
    project.import_runs(tmp_path / "mlflow.db")
    assert not is_read(project, tmp_path / "mlflow.db", monkeypatch)
    (tmp_path / "mlruns/0/abc/artifacts/more").write_text("x")
    assert counts(project.import_runs(tmp_path / "mlflow.db")) == (0, 1, 0, 0, 1)


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[int, int, int, int, int]]] = {
    "a point": (lambda run: _append(run / "metrics/loss", "2000 0.25 1\n"), (0, 1, 0, 1, 2)),
    "a metric": (lambda run: (run / "metrics/accuracy").write_text("1000 0.25 0\n"), (0, 1, 0, 0, 0)),
    "a param": (lambda run: (run / "params/n").write_text("1"), (0, 1, 0, 0, 0)),
    "a tag": (lambda run: (run / "tags/team").write_text("pink"), (0, 1, 0, 0, 0)),
    "the end": (lambda run: _end(run / "meta.yaml"), (0, 1, 0, 0, 0)),
    "a file": (lambda run: (run / "artifacts/more").write_text("x"), (0, 1, 0, 0, 1)),
    "the content of a file": (lambda run: (run / "artifacts/notes").write_text("new"), (0, 1, 0, 0, 1)),
    "times": (lambda run: os.utime(run / "artifacts/notes", (1, 1)), (0, 0, 1, 0, 0)),
    "a file that is gone": (lambda run: (run / "artifacts/notes").unlink(), (0, 0, 1, 0, 0)),
}


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _end(meta: Path) -> None:
    meta.write_text(meta.read_text().replace("status: 1", "status: 3").replace("end_time: null", "end_time: 5000"))


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_noticed(
    project: Project, store: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    project.import_runs(store)
    make, expected = CHANGES[change]
    make(folder_of(store))
    assert counts(project.import_runs(store, dry_run=True)) == expected
    assert counts(project.import_runs(store)) == expected
    assert not is_read(project, store, monkeypatch)
    assert project.doctor().problems == []


def test_labels_follow_the_source_until_somebody_edits_them_here(project: Project, store: Path) -> None:
    project.import_runs(store)
    (folder_of(store) / "tags/team").write_text("pink")
    project.import_runs(store)
    assert only(project).tags == ["experiment=iris", "team=pink"]
    only(project).tag("mine")
    (folder_of(store) / "tags/team").write_text("gray")
    project.import_runs(store)
    assert only(project).tags == ["experiment=iris", "team=pink", "mine"]


def test_files_that_are_gone_at_the_source_stay_here(project: Project, store: Path) -> None:
    project.import_runs(store)
    artifacts = folder_of(store) / "artifacts"
    (artifacts / "notes").write_text("new")
    shutil.rmtree(artifacts / "model")
    assert project.import_runs(store).files == 1
    checkpoint = only(project).checkpoints[-1]
    for path, content in {"artifacts/notes": b"new", "artifacts/model/weights": b"abc"}.items():
        with checkpoint.open(path) as file:
            assert file.read() == content


@pytest.mark.parametrize("loss", ["record", "archive", "edited", "memory", "damage"])
def test_what_changed_here_is_noticed(
    project: Project, project_directory: Path, store: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """What was lost comes back; what somebody wrote stays."""
    project.import_runs(store)
    repository = project_directory / "repo"
    (record,) = (repository / "metadata/experiments").iterdir()
    (archive,) = (repository / "checkpoints").iterdir()
    cache = cache_directory()
    assert cache is not None
    (memory,) = (cache / "imports").iterdir()
    if loss == "record":
        record.unlink()
        assert counts(project.import_runs(store))[:3] == (1, 0, 0)
    elif loss == "archive":
        archive.unlink()
        assert counts(project.import_runs(store)) == (0, 1, 0, 0, 2)
        assert archive.exists()
    elif loss == "edited":
        only(project).rename("mine")
        assert is_read(project, store, monkeypatch)
        assert only(project).name == "mine"
        assert not is_read(project, store, monkeypatch)
    else:
        memory.unlink() if loss == "memory" else memory.write_text('[{"id": 3}]')
        assert is_read(project, store, monkeypatch)
        assert not is_read(project, store, monkeypatch)


def test_options_matter(project: Project, store: Path) -> None:
    assert counts(project.import_runs(store, files=False)) == (1, 0, 0, 1, 0)
    assert counts(project.import_runs(store)) == (0, 1, 0, 0, 2)
    assert counts(project.import_runs(store, metric="loss")) == (0, 1, 0, 0, 0)
