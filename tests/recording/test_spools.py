"""Runs of one project with one spool after another, as KEEPSAKE_SPOOL names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import MissingRepository


@pytest.mark.parametrize("first", ["a run without", "a run", "a copy"])
def test_a_run_with_a_new_spool_makes_no_repository_in_an_empty_mount_point(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    """The project's usual spool says that the project has used a repository there, though no run may wait there."""
    repository, usual = project_directory / "repo", project_directory / ".keepsake" / "spool"
    if first == "a copy":
        monkeypatch.setenv("KEEPSAKE_REPOSITORY", "file://other")
        keepsake.init(params={}).stop()
        monkeypatch.delenv("KEEPSAKE_REPOSITORY")
        shutil.rmtree(usual)
    monkeypatch.setenv("KEEPSAKE_SPOOL", "" if first == "a run without" else "spool")
    if first == "a copy":
        keepsake.Project().pull("file://other")
    else:
        keepsake.init(params={}).stop()
    repository.rename(project_directory / "away")
    repository.mkdir()
    capsys.readouterr()
    monkeypatch.setenv("KEEPSAKE_SPOOL", "another")
    experiment = keepsake.init(params={})
    said = capsys.readouterr().err
    assert "no new one is created" in said
    assert f"delete {usual / 'repositories.json'}." in said
    assert list(repository.iterdir()) == []
    with pytest.raises(MissingRepository, match=r"repositories\.json"):
        keepsake.Project().workplace.view.ensure()
    repository.rmdir()
    (project_directory / "away").rename(repository)
    experiment.stop()
    assert len(keepsake.experiments.list()) == 2
