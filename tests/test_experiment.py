"""The Python API on a repository, in each place: recording, reading, comparing, restoring, deleting."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import enum
import io
import json
import pickle
import platform
import random
import shutil
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy
import pytest

import keepsake
from keepsake import exceptions, workplace
from keepsake.checkpoint import CheckpointList
from keepsake.collection import ExperimentList
from keepsake.experiment import Experiment
from keepsake.recording import contact
from keepsake.storage import open_storage
from keepsake.storage.disk import DiskStorage
from tests.spools import nothing_waits
from tests.storage.benches import Bench

MINIMIZE = ("loss", "minimize")


pytestmark = pytest.mark.usefixtures("place")
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


def stored(place: Bench, experiment: Experiment) -> dict[str, Any]:
    return json.loads(place.read(f"metadata/experiments/{experiment.id}.json"))  # type: ignore[no-any-return]


@pytest.fixture
def trained(project_directory: Path) -> Experiment:
    """A finished run with three checkpoints, of which the second is the best."""
    (project_directory / "train.py").write_text("print('training')")
    experiment = keepsake.init(path="train.py", params={"learning_rate": 0.01})
    for loss in (0.5, 0.25, 0.75):
        (project_directory / "model.pth").write_text(f"weights of {loss}")
        experiment.checkpoint(path="model.pth", metrics={"loss": loss}, primary_metric=MINIMIZE)
    experiment.stop()
    return experiment


def test_a_run_is_recorded_whole(trained: Experiment, project_directory: Path, place: Bench) -> None:
    """A finished run leaves in the repository what 0.4.2 would have put there, and nothing anywhere else."""
    checkpoints = [f"checkpoints/{c.id}.tar.gz" for c in trained.checkpoints]
    expected = ["repository.json", f"metadata/experiments/{trained.id}.json", f"experiments/{trained.id}.tar.gz"]
    assert place.kept() == {*expected, *checkpoints}
    assert nothing_waits(project_directory)
    assert place.read("repository.json") == b'{"version":1}'


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


def test_times_are_local_for_people_and_utc_in_the_repository(
    project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    experiment = keepsake.init()
    experiment.stop()
    assert abs(datetime.now() - experiment.created) < timedelta(minutes=1)
    assert stored(place, experiment)["created"].endswith("Z")
    assert keepsake.experiments.get(experiment.id).created == experiment.created


def test_the_files_saved_are_those_at_the_time_of_the_call(project_directory: Path) -> None:
    """A script may overwrite, truncate or delete a file as soon as checkpoint() has returned."""
    experiment = keepsake.init()
    weights = project_directory / "model.pth"
    contents = []
    for number in range(5):
        contents.append(f"{number}" * (1 << number * 5))
        weights.write_text(contents[-1])
        experiment.checkpoint(path="model.pth")
        weights.write_text("")
    weights.unlink()
    experiment.stop()
    for checkpoint, content in zip(keepsake.experiments.get(experiment.id).checkpoints, contents, strict=True):
        with checkpoint.open("model.pth") as file:
            assert file.read().decode() == content


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


@on_disk
def test_weights_are_copied_once(project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their copy is their archive, which is only moved into a repository on the same disk."""
    monkeypatch.setattr(DiskStorage, "upload", None)
    weights = random.Random(2).randbytes(2_500_000)
    (project_directory / "model.pth").write_bytes(weights)
    experiment = keepsake.init()
    checkpoint = experiment.checkpoint(path="model.pth")
    assert checkpoint is not None
    experiment.stop()
    assert f"checkpoints/{checkpoint.id}.tar.gz" in place.kept()
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


def test_a_running_experiment_shows_as_running_at_once(project_directory: Path) -> None:
    experiment = keepsake.init()
    assert keepsake.experiments.get(experiment.id).is_running()
    assert keepsake.experiments.list()[0].status == "running"
    experiment.stop()
    assert keepsake.experiments.get(experiment.id).status == "stopped"
    assert keepsake.experiments.get(experiment.id).end_reason == "stopped"


def test_without_a_heartbeat_it_never_shows_as_running(project_directory: Path) -> None:
    experiment = keepsake.init(disable_heartbeat=True)
    assert not experiment.is_running()
    experiment.stop()


def test_refresh_sees_what_another_reader_of_the_experiment_added(project_directory: Path) -> None:
    experiment = keepsake.init()
    other = keepsake.experiments.get(experiment.id)
    experiment.checkpoint(metrics={"loss": 1.0})
    assert len(other.checkpoints) == 0
    other.refresh()
    assert len(other.checkpoints) == 1
    experiment.stop()


def test_an_experiment_that_was_read_can_be_added_to(trained: Experiment, project_directory: Path) -> None:
    found = keepsake.experiments.get(trained.id)
    found.checkpoint(metrics={"loss": 0.125}, primary_metric=MINIMIZE)
    found.stop()
    assert nothing_waits(project_directory)
    again = keepsake.experiments.get(trained.id)
    assert again.checkpoints.step == [0, 1, 2, 3]
    assert again.best() == again.checkpoints[3]


def test_keyword_arguments_are_metrics_too(project_directory: Path) -> None:
    experiment = keepsake.init()
    checkpoint = experiment.checkpoint(metrics={"loss": 1.0}, accuracy=0.5, primary_metric=("accuracy", "maximize"))
    assert checkpoint is not None
    assert checkpoint.metrics == {"loss": 1.0, "accuracy": 0.5}
    with pytest.raises(exceptions.ValidationError, match="'loss' is given twice"):
        experiment.checkpoint(metrics={"loss": 1.0}, loss=2.0)
    experiment.stop()


def test_values_of_the_frameworks_are_recorded(project_directory: Path) -> None:
    class Color(enum.Enum):
        RED = "red"

    @dataclasses.dataclass
    class Optimizer:
        name: str
        betas: tuple[float, float]

    params = argparse.Namespace(
        optimizer=Optimizer("adam", (0.9, 0.999)), color=Color.RED, path=Path("a/b"), tags={"x"}
    )
    experiment = keepsake.init(params=params)  # type: ignore[arg-type]
    experiment.checkpoint(
        metrics={
            "scalar": numpy.float32(0.5),
            "flag": numpy.bool_(True),
            "matrix": numpy.array([[1, 2], [3, 4]]),
            "nothing": None,
            "bad": float("nan"),
            "nested": {"infinite": [float("inf"), -float("inf")]},
            "large": 2**70,
        },
        step=numpy.int64(7),
    )
    experiment.stop()
    found = keepsake.experiments.get(experiment.id)
    assert found.params == {
        "optimizer": {"name": "adam", "betas": [0.9, 0.999]},
        "color": "Color.RED",
        "path": "a/b",
        "tags": ["x"],
    }
    metrics = found.checkpoints[0].metrics
    assert metrics is not None
    assert metrics.pop("bad") != metrics.get("bad")
    assert metrics == {
        "scalar": 0.5,
        "flag": True,
        "matrix": [[1, 2], [3, 4]],
        "nothing": None,
        "nested": {"infinite": [float("inf"), -float("inf")]},
        "large": 2**70,
    }
    assert found.checkpoints.step == [7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": {"a": object()}}, "a"),
        ({"metrics": [1]}, "metrics"),
        ({"path": "/etc/passwd"}, "outside the project directory"),
        ({"path": "../x"}, "project directory"),
        ({"path": 7}, "path must be a string"),
        ({"path": "missing"}, "missing"),
        ({"step": "one"}, "step must be an int"),
        ({"step": 1.5}, "step must be an int"),
        ({"primary_metric": ("b", "minimize")}, "'b' is not among the metrics"),
    ],
)
def test_a_checkpoint_that_cannot_be_recorded_never_raises_into_the_loop(
    project_directory: Path,
    place: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, Any],
    message: str,
) -> None:
    """It is said on stderr, uses up no step and leaves nothing behind; with KEEPSAKE_STRICT=1 it raises."""
    experiment = keepsake.init()
    with pytest.raises(exceptions.KeepsakeError):
        experiment.checkpoint(**arguments)
    monkeypatch.delenv("KEEPSAKE_STRICT")
    capsys.readouterr()
    assert experiment.checkpoint(**arguments) is None
    assert message in capsys.readouterr().err
    assert experiment.checkpoint() is not None
    experiment.stop()
    assert keepsake.experiments.get(experiment.id).checkpoints.step == [0]
    assert len(place.kept()) == 2
    assert nothing_waits(project_directory)


def test_a_primary_metric_that_is_not_a_pair_is_ignored(
    project_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = keepsake.init()
    checkpoint = experiment.checkpoint(metrics={"a": 1}, primary_metric="a")  # type: ignore[arg-type]
    assert checkpoint is not None
    assert checkpoint.primary_metric is None
    assert "must be a pair" in capsys.readouterr().err
    experiment.stop()


@pytest.mark.parametrize("arguments", [{"path": "missing"}, {"path": "/"}, {"params": {"a": object()}}, {"params": 7}])
def test_an_init_that_fails_raises_and_leaves_nothing(
    project_directory: Path, place: Bench, arguments: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.KeepsakeError):
        keepsake.init(**arguments)
    assert [path.name for path in project_directory.iterdir()] == ["keepsake.yaml"]
    assert place.kept() == set()


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_an_init_that_is_interrupted_leaves_nothing(
    project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Whether the experiment is in the repository by then or on its way there."""

    def interrupt(repository: object) -> None:
        time.sleep(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(contact, "saver", lambda: Mock(prepare=interrupt))
    with pytest.raises(KeyboardInterrupt):
        keepsake.init()
    for thread in threading.enumerate():
        if thread.name == "keepsake-init":
            thread.join(10)
    assert place.kept() <= {"repository.json"}
    assert not (project_directory / ".keepsake" / "spool").exists()


@on_disk
def test_an_init_without_rights_says_so_and_leaves_nothing(project_directory: Path) -> None:
    (project_directory / "repo").write_text("a file where the repository should be")
    with pytest.raises(exceptions.KeepsakeError, match="repo"):
        keepsake.init()
    assert nothing_waits(project_directory)


def test_a_project_needs_no_configuration_if_it_names_the_repository(place: Bench, tmp_path: Path) -> None:
    project = keepsake.Project(repository=place.url, directory=tmp_path)
    (tmp_path / "train.py").write_text("code")
    experiment = project.experiments.create(path=".", params={"foo": "bar"})
    experiment.checkpoint(metrics={"a": 1})
    experiment.stop()
    reader = keepsake.Project(repository=place.url)
    assert [e.params for e in reader.experiments.list()] == [{"foo": "bar"}]


def test_the_repository_is_not_packed_into_itself(project_directory: Path, tmp_path: Path) -> None:
    (project_directory / "train.py").write_text("code")
    keepsake.init().stop()
    experiment = keepsake.init(path=".")
    checkpoint = experiment.checkpoint(path=".")
    assert checkpoint is not None
    experiment.stop()
    checkpoint.checkout(tmp_path / "out")
    restored = [path.name for path in (tmp_path / "out").iterdir() if path.name != ".keepsake"]  # what undo needs
    assert sorted(restored) == ["keepsake.yaml", "train.py"]


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
    assert found.to_json() == stored(place, trained)
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


def test_messages_say_what_is_being_saved(
    project_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPSAKE_VERBOSE", "1")
    (project_directory / "a.txt").write_text("a")
    experiment = keepsake.init(path="a.txt")
    url = experiment.project.repository_url
    place = "repo" if url.startswith("file:") else url  # in the project
    copying = f"copying 'a.txt' to '{place}' in the background..."
    checkpoint = experiment.checkpoint(path="a.txt")
    experiment.checkpoint(quiet=True)
    experiment.stop()
    assert checkpoint is not None
    assert capsys.readouterr().err.splitlines() == [
        f"═══╡ Creating experiment {experiment.short_id()}, {copying}",
        f"═══╡ Creating checkpoint {checkpoint.short_id()}, {copying}",
        f"═══╡ Experiment {experiment.short_id()}: 2 checkpoints saved to {url}.",
    ]


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


@pytest.mark.parametrize("given", [123, None, b"5ffb0f6", 1.5])
def test_an_id_that_is_not_text_is_refused(given: Any) -> None:
    with pytest.raises(exceptions.ValidationError, match="Give a string"):
        keepsake.experiments.get(given)


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


def test_a_run_that_was_deleted_is_not_brought_back(
    project_directory: Path, place: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"loss": 1.0})
    keepsake.experiments.get(experiment.id).delete()
    experiment.checkpoint(metrics={"loss": 2.0})
    experiment.checkpoint(metrics={"loss": 3.0})
    experiment.stop()
    assert keepsake.experiments.list() == []
    assert place.kept() == {"repository.json"}
    assert nothing_waits(project_directory)
    assert capsys.readouterr().err.count("was removed") == 1


@on_disk
def test_import_paths_of_old_code_lead_somewhere() -> None:
    from keepsake.checkpoint import Checkpoint, PrimaryMetric
    from keepsake.experiment import ExperimentCollection
    from keepsake.metadata import parse_rfc3339, rfc3339_datetime
    from keepsake.packages import get_imported_packages
    from keepsake.project import Project, ProjectSpec

    assert keepsake.default_project.__class__ is Project
    assert isinstance(keepsake.experiments, ExperimentCollection)
    assert parse_rfc3339(rfc3339_datetime(datetime(2021, 1, 1))) == datetime(2021, 1, 1)
    assert get_imported_packages()["numpy"] == numpy.__version__
    assert PrimaryMetric(name="loss", goal="minimize") == {"name": "loss", "goal": "minimize"}
    assert Checkpoint is keepsake.Checkpoint
    assert keepsake.experiments.project is keepsake.default_project
    assert ProjectSpec(version=1).version == 1


@on_disk
def test_modules_of_old_code_do_what_they_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from keepsake import console, constants, hash, json, system, validate

    console.info("one")
    console.warn("two")
    console.error("three")
    assert capsys.readouterr().err == "═══╡ one\n═══╡ two\n═══╡ three\n"
    assert constants.DOCS_URL.startswith(constants.WEB_URL)
    assert constants.REPOSITORY_VERSION == 1
    assert len(hash.random_hash()) == 64
    assert len(hash.random_hash(7)) == 7
    assert json.CustomJSONEncoder().encode({"a": numpy.float32(0.5)}) == '{"a": 0.5}'
    assert system.get_python_version() == platform.python_version()
    assert len(validate.check_path("experiment", "/nothing/there")) == 2
    assert validate.check_path("checkpoint", str(Path(__file__).name)) == [
        "The path of the checkpoint is wrong. There is no file or directory 'test_experiment.py'."
    ]
