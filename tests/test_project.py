"""A project finds its repository, and lists, finds and deletes the experiments in it, in each place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import keepsake
from keepsake import exceptions, workplace
from keepsake.collection import ExperimentList
from keepsake.experiment import Experiment
from keepsake.storage import open_storage
from tests.storage.benches import Bench

pytestmark = pytest.mark.usefixtures("place")
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


@on_disk
def test_a_relative_repository_is_relative_to_the_file_it_stands_in_or_else_to_where_one_is(
    trained: Experiment, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project_directory / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert len(keepsake.Project().experiments.list()) == 1
    assert len(keepsake.Project(repository="file://../repo").experiments.list()) == 1
    assert len(keepsake.Project(repository="file://repo", directory="..").experiments.list()) == 1


def test_a_project_needs_no_configuration_if_it_names_the_repository(place: Bench, tmp_path: Path) -> None:
    project = keepsake.Project(repository=place.url, directory=tmp_path)
    (tmp_path / "train.py").write_text("code")
    experiment = project.experiments.create(path=".", params={"foo": "bar"})
    experiment.checkpoint(metrics={"a": 1})
    experiment.stop()
    reader = keepsake.Project(repository=place.url)
    assert [e.params for e in reader.experiments.list()] == [{"foo": "bar"}]


def test_experiments_are_listed_oldest_first_and_filtered(
    project_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        experiment = keepsake.init(params={"number": number})
        if number:
            experiment.checkpoint(step=100 * number)
        experiment.stop()
    experiments = keepsake.experiments.list()
    assert [e.params["number"] for e in experiments if e.params] == [0, 1, 2, 3]
    assert isinstance(experiments, ExperimentList)
    assert isinstance(experiments[1:], ExperimentList)
    late = keepsake.experiments.list(filter=lambda e: e.latest().step >= 200)  # type: ignore[union-attr,operator]
    assert [e.params["number"] for e in late if e.params] == [2, 3]
    assert "The filter failed" in capsys.readouterr().err


def test_experiments_are_deleted_with_all_that_is_theirs(project_directory: Path, place: Bench) -> None:
    (project_directory / "model.pth").write_text("weights")
    for number in range(3):
        experiment = keepsake.init(path="model.pth", params={"number": number})
        experiment.checkpoint(path="model.pth", accuracy=number / 4, primary_metric=("accuracy", "maximize"))
        experiment.stop()
    bad = keepsake.experiments.list(lambda e: e.best().metrics["accuracy"] < 0.5)  # type: ignore[union-attr,index]
    assert len(bad) == 2
    bad.delete()
    (left,) = keepsake.experiments.list()
    assert len(place.kept()) == 4
    left.delete()
    assert place.kept() == {"repository.json"}


def test_ids_are_found_by_their_beginning(trained: Experiment) -> None:
    other = keepsake.init()
    other.stop()
    assert keepsake.experiments.get(other.short_id()).id == other.id
    with pytest.raises(exceptions.DoesNotExist, match="begins with 'zzz'"):
        keepsake.experiments.get("zzz")
    with pytest.raises(exceptions.DoesNotExist, match="empty"):
        keepsake.experiments.get("")
    common = 0
    while trained.id[:common] == other.id[:common]:
        common += 1
    if common > 1:
        with pytest.raises(exceptions.AmbiguousID, match="2 IDs"):
            keepsake.experiments.get(trained.id[: common - 1])


def test_the_repository_is_opened_once(trained: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open one again means to sign in again: on S3, a quarter of a second."""
    opening = Mock(side_effect=open_storage)
    monkeypatch.setattr(workplace, "open_storage", opening)
    here = keepsake.Project()
    for experiment in (here.experiments.get(trained.id), *here.experiments.list()):
        with experiment.latest().open("model.pth") as file:
            assert file.read()
    assert opening.call_count == 1


def test_an_ambiguous_id_says_how_many_there_are(project_directory: Path, place: Bench) -> None:
    for number in (1, 2, 3):
        experiment_id = "abcdef" + f"{number:058x}"
        record = {"id": experiment_id, "created": "2021-02-03T04:05:06Z"}
        place.write(f"metadata/experiments/{experiment_id}.json", json.dumps(record).encode())
    with pytest.raises(exceptions.AmbiguousID, match="3 IDs"):
        keepsake.experiments.get("abcdef")


def test_a_broken_record_among_good_ones_is_one_warning(
    trained: Experiment, place: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(f"metadata/experiments/{'b' * 64}.json", b'{"id": ')
    place.write("metadata/experiments/README.txt", b"not ours")
    assert [e.id for e in keepsake.experiments.list()] == [trained.id]
    assert capsys.readouterr().err.count("cannot be read and is left out") == 1


def test_a_repository_of_a_later_version_is_refused(trained: Experiment, place: Bench) -> None:
    for content, error in (
        (b'{"version":2}', exceptions.IncompatibleRepositoryVersion),
        (b"{}", exceptions.CorruptedRepositorySpec),
        (b"version 1", exceptions.CorruptedRepositorySpec),
    ):
        place.write("repository.json", content)
        project = keepsake.Project()
        with pytest.raises(error):
            project.experiments.list()
        with pytest.raises(error):
            project.experiments.get(trained.id)
        with pytest.raises(error):
            project.experiments.create()


@pytest.mark.parametrize("given", [123, None, b"5ffb0f6", 1.5])
def test_an_id_that_is_not_text_is_refused(given: Any) -> None:
    with pytest.raises(exceptions.ValidationError, match="Give a string"):
        keepsake.experiments.get(given)


@on_disk
def test_a_project_directory_that_was_deleted_and_comes_back_is_a_new_one(project_directory: Path) -> None:
    """What a Project saw earlier in the directory counts no more."""
    here = keepsake.Project(directory=project_directory)
    config = (project_directory / "keepsake.yaml").read_text()
    for _ in range(2):
        here.experiments.create(quiet=True).stop()
        assert len(here.experiments.list()) == 1
        assert (project_directory / "repo" / "repository.json").exists()
        shutil.rmtree(project_directory)
        project_directory.mkdir()
        (project_directory / "keepsake.yaml").write_text(config)


def test_a_repository_that_a_later_version_converts_is_refused_by_the_next_init(
    trained: Experiment, place: Bench
) -> None:
    place.write("repository.json", b'{"version":2}')
    with pytest.raises(exceptions.IncompatibleRepositoryVersion):
        keepsake.init()
