"""What a script records with init(), checkpoint() and stop(), in each place."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import math
import random
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy
import pytest

import keepsake
from keepsake import exceptions
from keepsake.experiment import Experiment
from keepsake.recording import contact, ending
from keepsake.repository.repository import Repository
from keepsake.spool.entry import Entry
from keepsake.storage.disk import DiskStorage
from tests.spools import nothing_waits
from tests.storage.benches import Bench

MINIMIZE = ("loss", "minimize")

pytestmark = pytest.mark.usefixtures("place")
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


def test_a_run_is_recorded_whole(trained: Experiment, project_directory: Path, place: Bench) -> None:
    """A finished run leaves in the repository what 0.4.2 would have put there, and nothing anywhere else."""
    checkpoints = [f"checkpoints/{c.id}.tar.gz" for c in trained.checkpoints]
    expected = ["repository.json", f"metadata/experiments/{trained.id}.json", f"experiments/{trained.id}.tar.gz"]
    assert place.kept() == {*expected, *checkpoints}
    assert nothing_waits(project_directory)
    assert place.read("repository.json") == b'{"version":1}'


def test_times_are_local_for_people_and_utc_in_the_repository(
    project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    experiment = keepsake.init()
    experiment.stop()
    record = json.loads(place.read(f"metadata/experiments/{experiment.id}.json"))
    assert abs(datetime.now() - experiment.created) < timedelta(minutes=1)
    assert record["created"].endswith("Z")
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
    assert math.isnan(metrics.pop("bad"))
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


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the thread that sends a new experiment has sent it, or has taken it back."""
    run, sent = contact._Sending._run, threading.Event()

    def run_and_tell(sending: contact._Sending) -> bool:
        goes_on = run(sending)
        sent.set()
        return goes_on

    monkeypatch.setattr(contact._Sending, "_run", run_and_tell)
    return sent


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_an_init_that_is_interrupted_leaves_nothing(
    project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float, sent: threading.Event
) -> None:
    """Whether the experiment is in the repository by then or on its way there."""

    def interrupt() -> None:
        time.sleep(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        keepsake.init()
    _assert_that_nothing_is_left(place, project_directory, sent)


def _assert_that_nothing_is_left(place: Bench, project: Path, sent: threading.Event) -> None:
    """Neither in the repository nor in the spool, once the thread of init() has ended."""
    assert sent.wait(10)
    assert place.kept() <= {"repository.json"}
    assert not (project / ".keepsake" / "spool").exists()


class _InterruptedStart(threading.Thread):
    """A thread during whose start Ctrl-C is pressed."""

    def start(self) -> None:
        super().start()
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name", "replacement"),
    [
        (threading, "Thread", _InterruptedStart),
        (Entry, "open", Mock(side_effect=KeyboardInterrupt)),
        (Entry, "keep_room", Mock(side_effect=KeyboardInterrupt)),
    ],
)
def test_an_init_that_is_interrupted_beside_the_first_contact_leaves_nothing(
    project_directory: Path,
    place: Bench,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    replacement: Any,
    sent: threading.Event,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, replacement)
        with pytest.raises(KeyboardInterrupt):
            keepsake.init()
    _assert_that_nothing_is_left(place, project_directory, sent)


def test_an_init_that_cannot_write_to_the_spool_leaves_nothing_in_the_repository(
    project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on its way there meanwhile is taken back before the error ends the program."""
    keepsake.init().stop()
    before = place.kept()

    merge = Repository.merge

    def merge_slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return merge(*arguments, **options)

    monkeypatch.setattr(Repository, "merge", merge_slowly)
    monkeypatch.setattr(Entry, "open", Mock(side_effect=exceptions.WriteError("The spool's disk is full.")))
    with pytest.raises(exceptions.WriteError, match="spool"):
        keepsake.init()
    assert place.kept() == before


@on_disk
def test_an_init_without_rights_says_so_and_leaves_nothing(project_directory: Path) -> None:
    (project_directory / "repo").write_text("a file where the repository should be")
    with pytest.raises(exceptions.KeepsakeError, match="repo"):
        keepsake.init()
    assert nothing_waits(project_directory)


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
