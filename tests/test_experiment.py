"""What was recorded can be read, opened, checked out, copied and compared, in each place."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake import exceptions
from keepsake.checkpoint import CheckpointList
from keepsake.experiment import Experiment
from tests.storage.benches import Bench

MINIMIZE = ("loss", "minimize")

pytestmark = pytest.mark.usefixtures("place")
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


def test_what_was_recorded_is_read_back(trained: Experiment) -> None:
    found = keepsake.experiments.get(trained.id[:10])
    assert found.id == trained.id
    assert found.created == trained.created
    assert found.params == {"learning_rate": 0.01}
    assert found.path == "train.py"
    assert [c.id for c in found.checkpoints] == [c.id for c in trained.checkpoints]
    assert [c.created for c in found.checkpoints] == [c.created for c in trained.checkpoints]
    assert found.checkpoints.metrics["loss"] == [0.5, 0.25, 0.75]
    assert found.checkpoints.step == [0, 1, 2]
    assert found.best() == found.checkpoints[1]
    assert found.latest() == found.checkpoints[2]
    assert found.primary_metric() == "loss"
    assert found.keepsake_version == keepsake.__version__
    assert found.python_packages is not None
    assert "numpy" in found.python_packages
    assert found.config == {"repository": found.project.repository_url, "storage": ""}
    assert not found.is_running()
    assert found.duration == found.checkpoints[2].created - found.created


def test_open_returns_a_file_that_any_reader_takes(trained: Experiment) -> None:
    """An example is `torch.load(keepsake.experiments.get(ID).best().open("model.pth"))`."""
    best = keepsake.experiments.get(trained.id).best()
    assert best is not None
    with best.open("model.pth") as file:
        assert file.seekable()
        assert file.seek(11) == 11
        assert file.read() == b"0.25"
        file.seek(-4, io.SEEK_END)
        assert file.read() == b"0.25"
    with best.open("train.py") as file:
        assert file.read() == b"print('training')"
    with pytest.raises(exceptions.DoesNotExist, match=r"no\.py"):
        best.open("no.py")


def test_checkout_brings_back_code_and_weights(trained: Experiment, tmp_path: Path) -> None:
    best = keepsake.experiments.get(trained.id).best()
    assert best is not None
    best.checkout(tmp_path / "out")
    assert (tmp_path / "out/model.pth").read_text() == "weights of 0.25"
    assert (tmp_path / "out/train.py").read_text() == "print('training')"


@pytest.mark.parametrize("weights", [b"weights", random.Random(1).randbytes(2_500_000)], ids=["little", "much"])
def test_what_still_waits_in_the_spool_can_be_read(
    project_directory: Path, place: Bench, tmp_path: Path, weights: bytes
) -> None:
    """A notebook, or another terminal in the project, sees at once what was just saved; offline too."""
    (project_directory / "model.pth").write_bytes(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEEPSAKE_OFFLINE", "1")
        experiment = keepsake.init(path="model.pth", params={"a": 1})
        experiment.checkpoint(path="model.pth", metrics={"loss": 1.0}, primary_metric=MINIMIZE)
        assert place.kept() == set()
        found = keepsake.experiments.get(experiment.id)
        assert found.is_running()
        assert found.checkpoints.metrics["loss"] == [1.0]
        with found.checkpoints[0].open("model.pth") as file:
            assert file.read() == weights
        found.checkpoints[0].checkout(tmp_path / "out")
        assert (tmp_path / "out/model.pth").read_bytes() == weights
        experiment.stop()
        assert [e.id for e in keepsake.experiments.list()] == [experiment.id]
        assert keepsake.experiments.get(experiment.id).status == "stopped"
        assert keepsake.experiments.list()[0].status == "stopped"
    another = keepsake.init()
    another.stop()
    assert {e.id for e in keepsake.experiments.list()} == {experiment.id, another.id}
    with keepsake.experiments.get(experiment.id).checkpoints[0].open("model.pth") as file:
        assert file.read() == weights


def test_missing_files_are_distinguished_from_those_on_their_way(
    trained: Experiment, place: Bench, tmp_path: Path
) -> None:
    for checkpoint in trained.checkpoints:
        place.remove(f"checkpoints/{checkpoint.id}.tar.gz")
    checkpoint = keepsake.experiments.get(trained.id).checkpoints[0]
    with pytest.raises(exceptions.DoesNotExist, match="never sent"):
        checkpoint.checkout(tmp_path / "out")
    trained.project.workplace.repository.heartbeats.beat(trained.id)
    with pytest.raises(exceptions.DoesNotExist, match="still saving"):
        checkpoint.open("model.pth")


def test_refresh_sees_what_another_reader_of_the_experiment_added(project_directory: Path) -> None:
    experiment = keepsake.init()
    other = keepsake.experiments.get(experiment.id)
    experiment.checkpoint(metrics={"loss": 1.0})
    assert len(other.checkpoints) == 0
    other.refresh()
    assert len(other.checkpoints) == 1
    experiment.stop()


def test_the_classes_are_dataclasses_as_they_were(trained: Experiment) -> None:
    names = [field.name for field in dataclasses.fields(Experiment)]
    assert names == [
        "id", "created", "user", "host", "command", "config", "path", "params", "python_version", "python_packages",
        "keepsake_version", "checkpoints",
    ]  # fmt: skip
    found = keepsake.experiments.get(trained.id)
    as_dict = dataclasses.asdict(found)
    assert as_dict["checkpoints"][1]["metrics"] == {"loss": 0.25}
    assert [field.name for field in dataclasses.fields(found.checkpoints[0])] == [
        "id", "created", "path", "step", "metrics", "primary_metric",
    ]  # fmt: skip


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_experiment_can_be_pickled_and_copied(trained: Experiment, duplicate: Any) -> None:
    twin = duplicate(trained)
    assert twin == trained
    with twin.best().open("model.pth") as file:
        assert file.read() == b"weights of 0.25"


def test_to_json_is_what_stands_in_the_repository(trained: Experiment, place: Bench) -> None:
    found = keepsake.experiments.get(trained.id)
    assert found.to_json() == json.loads(place.read(f"metadata/experiments/{trained.id}.json"))
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    checkpoint = keepsake.Checkpoint.from_json(found.to_json()["checkpoints"][0])
    assert checkpoint == found.checkpoints[0]


@on_disk
def test_experiments_and_checkpoints_can_be_built_by_hand() -> None:
    created = datetime(2021, 2, 3, 4, 5, 6)
    good = keepsake.Checkpoint(id="c" * 64, created=created, metrics={"loss": 0.5}, step=3)
    assert good.validate() == []
    bad = keepsake.Checkpoint(
        id="d" * 64,
        created=created,
        path="/absolute",
        step="one",  # type: ignore[arg-type]
        metrics={"loss": object()},
    )
    assert len(bad.validate()) == 4
    wrong = keepsake.Checkpoint(id="e" * 64, created=created, metrics={}, primary_metric={"name": "loss", "goal": "x"})
    assert len(wrong.validate()) == 2
    experiment = Experiment(project=keepsake.Project(), id="a" * 64, created=created, params={"lr": 0.5})
    assert experiment.checkpoints == CheckpointList()
    assert experiment._validate() == []
    assert experiment.to_json()["params"] == {"lr": 0.5}
    assert len(Experiment(project=keepsake.Project(), id="a" * 64, created=created, path="../x")._validate()) == 1


def test_checkpoints_that_disagree_about_the_primary_metric_are_warned_about(
    project_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"loss": 0.5, "accuracy": 0.5}, primary_metric=MINIMIZE)
    experiment.checkpoint(metrics={"loss": 0.25, "accuracy": 0.25}, primary_metric=("accuracy", "maximize"))
    assert experiment.best() == experiment.checkpoints[1]
    assert "different primary metrics" in capsys.readouterr().err
    experiment.stop()


def test_metrics_that_some_checkpoints_lack_are_none(project_directory: Path) -> None:
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"a": 1})
    experiment.checkpoint(metrics={"b": 2})
    assert experiment.checkpoints.metrics["a"] == [1, None]
    assert experiment.checkpoints[-1:].metrics["b"] == [2]
    assert isinstance(experiment.checkpoints[::2], CheckpointList)
    with pytest.raises(KeyError):
        experiment.checkpoints.metrics["c"]
    experiment.stop()


@on_disk
def test_what_was_read_knows_how_it_ended(project_directory: Path) -> None:
    experiment = keepsake.init()
    assert (experiment.ended, experiment.end_reason) == (None, None)
    experiment.stop()
    found = keepsake.experiments.get(experiment.id)
    assert (experiment.ended, experiment.end_reason) == (found.ended, found.end_reason)
    assert found.end_reason == "stopped"
    assert experiment.python_packages == found.python_packages
    assert experiment.to_json() == found.to_json()


@on_disk
def test_lists_show_themselves_in_a_line(trained: Experiment) -> None:
    ids = [checkpoint.short_id() for checkpoint in trained.checkpoints]
    assert repr(trained.checkpoints) == f"<3 checkpoints: {', '.join(ids)}>"
    assert repr(trained.checkpoints[:1]) == f"<1 checkpoint: {ids[0]}>"
    assert repr(trained.checkpoints[:0]) == "<0 checkpoints>"
    assert repr(CheckpointList(trained.checkpoints * 20)) == f"<60 checkpoints: {', '.join(ids)}, …, {ids[2]}>"
    assert repr(keepsake.experiments.list()) == f"<1 experiment: {trained.short_id()}>"


@on_disk
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_checkpoint_that_was_pickled_or_copied_opens(trained: Experiment, duplicate: Any) -> None:
    """It takes its project along, but not the other checkpoints of the run."""
    twin = duplicate(keepsake.experiments.get(trained.id).checkpoints[1])
    with twin.open("model.pth") as file:
        assert file.read() == b"weights of 0.25"
    assert twin.owner() == trained
    by_hand = keepsake.Checkpoint(id="c" * 64, created=datetime(2021, 2, 3))
    assert duplicate(by_hand).experiment is None
