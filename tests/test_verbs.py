"""Every command has a verb in the library: what a notebook does without a terminal."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

import keepsake
from keepsake.checkpoint import Checkpoint
from keepsake.compare.values import NOT_SET
from keepsake.exceptions import AmbiguousID, DoesNotExist, KeepsakeError
from keepsake.experiment import Experiment
from keepsake.project import Project


@pytest.fixture
def runs(project_directory: Path) -> list[Experiment]:
    """Two runs, each with its code and a checkpoint with weights."""
    found = []
    for number in (1, 2):
        (project_directory / "train.py").write_text(f"print({number})")
        (project_directory / "model.pth").write_text(f"weights {number}")
        params = {"lr": number / 10, "layers": 3, **({"dropout": 0.5} if number == 2 else {})}
        experiment = keepsake.init(path="train.py", params=params)
        experiment.checkpoint(path="model.pth", metrics={"loss": 1 / number}, primary_metric=("loss", "minimize"))
        experiment.stop()
        found.append(experiment)
    return found


def test_an_id_stands_for_an_experiment_or_a_checkpoint(runs: list[Experiment]) -> None:
    project = Project()
    assert project.find(runs[0].id[:20]) == runs[0]
    found = project.find(runs[1].checkpoints[0].id[:20])
    assert isinstance(found, Checkpoint)
    assert found.owner() == runs[1]
    with pytest.raises(DoesNotExist, match="keepsake ls"):
        project.find("zzz")
    with pytest.raises(DoesNotExist, match="at least its first digits"):
        project.find("")


def test_an_id_that_fits_several_is_ambiguous(project_directory: Path) -> None:
    project = Project()
    while True:
        project.experiments.create(quiet=True, disable_heartbeat=True).stop()
        beginnings = [experiment.id[0] for experiment in project.experiments.list()]
        if len(set(beginnings)) < len(beginnings):
            break
    twice = next(digit for digit in beginnings if beginnings.count(digit) > 1)
    with pytest.raises(AmbiguousID, match="Give more digits"):
        project.find(twice)


def test_two_experiments_are_compared(runs: list[Experiment]) -> None:
    comparison = runs[0].diff(runs[1])
    assert comparison.params == {"lr": (0.1, 0.2), "dropout": (NOT_SET, 0.5)}
    assert comparison.metrics == {"loss": (1.0, 0.5)}
    assert comparison.left == (runs[0], runs[0].checkpoints[0])
    assert comparison.to_json()["metrics"] == {"loss": [1.0, 0.5]}
    assert runs[0].diff(runs[0]).params == {}


def test_a_checkout_is_undone(runs: list[Experiment], project_directory: Path) -> None:
    runs[0].checkout()
    assert (project_directory / "model.pth").read_text() == "weights 1"
    assert sorted(keepsake.undo_checkout(project_directory).restored) == ["model.pth", "train.py"]
    assert (project_directory / "model.pth").read_text() == "weights 2"


def test_one_path_is_checked_out_elsewhere(runs: list[Experiment], tmp_path: Path) -> None:
    runs[0].checkout(tmp_path / "out", "model.pth")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == ["model.pth"]


def test_the_code_of_an_experiment_is_read_without_a_checkout(runs: list[Experiment]) -> None:
    with runs[0].open("train.py") as file:
        assert file.read() == b"print(1)"
    with pytest.raises(DoesNotExist, match=r"no file 'other\.py'"):
        runs[0].open("other.py")


def test_experiments_are_pushed_and_pulled(runs: list[Experiment], tmp_path: Path) -> None:
    copied = Project().push(f"file://{tmp_path}/copy", [runs[0].id[:10]])
    assert copied.is_new
    assert [outcome.record["id"] for outcome in copied.outcomes] == [runs[0].id]
    elsewhere = Project(f"file://{tmp_path}/elsewhere", tmp_path)
    assert len(elsewhere.pull(f"file://{tmp_path}/copy").outcomes) == 1
    assert elsewhere.experiments.list() == [runs[0]]


def test_what_waits_is_sent(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"loss": 1.0})
    experiment.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    (waiting,) = Project().pending()
    assert (waiting.entry.id, waiting.checkpoints) == (experiment.id, 1)
    assert [(sent.experiment_id, sent.error) for sent in Project().sync()] == [(experiment.id, None)]
    assert Project().pending() == []


def test_what_waits_for_a_repository_that_was_replaced_is_sent_if_told_to(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepsake.init().stop()
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"loss": 1.0})
    experiment.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    (project_directory / "repo").rename(project_directory / "away")
    Project().workplace.repository.ensure()  # another one
    (sent,) = Project().sync()
    assert sent.error is not None
    assert "another one" in str(sent.error)
    assert [sent.error for sent in Project().sync(force=True)] == [None]
    assert keepsake.experiments.get(experiment.id).checkpoints[0].metrics == {"loss": 1.0}


def test_a_repository_is_examined(runs: list[Experiment], project_directory: Path) -> None:
    assert Project().doctor(thorough=True).problems == []
    (project_directory / f"repo/experiments/{runs[0].id}.tar.gz").write_bytes(b"damaged")
    assert [problem.kind for problem in Project().doctor().problems] == ["archive-damaged"]


def test_an_experiment_that_was_built_by_hand_shows_what_it_has() -> None:
    experiment = Experiment(None, "a" * 64, datetime(2021, 1, 1), params={"lr": 0.1})
    assert experiment.to_json()["params"] == {"lr": 0.1}
    assert experiment.best() is None
    assert "0.1" in experiment._repr_html_()
    with pytest.raises(KeepsakeError, match="built by hand"):
        experiment.refresh()
