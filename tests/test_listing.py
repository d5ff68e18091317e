"""`experiments.list()`: filters as text and as functions, and sorting."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import InvalidFilter, UnknownName, ValidationError
from keepsake.experiment import Experiment
from keepsake.repository.heartbeats import Heartbeats
from tests.storage.benches import Bench
from tests.waiting import wait_until


def params(experiments: list[Experiment]) -> list[int]:
    return [(experiment.params or {})["n"] for experiment in experiments]


@pytest.fixture
def four(project_directory: Path, place: Bench) -> keepsake.Project:
    """Four runs; the third has no checkpoint, and the last one goes on."""
    for number in range(4):
        experiment = keepsake.init(params={"n": number, "optimizer": {"lr": number / 10}}, quiet=True)
        if number != 2:
            experiment.checkpoint(step=number, loss=1 / (number + 1), primary_metric=("loss", "minimize"))
        if number != 3:
            experiment.stop()
    return keepsake.default_project


def test_a_text_filters_and_sorts_as_on_the_command_line(four: keepsake.Project) -> None:
    listed = four.experiments.list
    assert params(listed("optimizer.lr > 0.05 and not loss < 0.3")) == [1, 2]
    assert params(listed("status = running")) == [3]
    assert params(listed("loss = null", sort="n")) == [2]
    assert params(listed(sort="loss")) == [3, 1, 0, 2]
    assert params(listed(filter="n != 0", sort="-loss")) == [1, 3, 2]
    assert params(listed(sort=["-checkpoints", "-n"])) == [3, 1, 0, 2]
    assert params(listed("")) == params(listed()) == [0, 1, 2, 3]
    assert isinstance(listed("n = 1"), keepsake.ExperimentList)
    assert params(listed(lambda experiment: experiment.latest() is None, sort="loss")) == [2]


def test_what_is_wrong_with_a_text_is_an_error(four: keepsake.Project) -> None:
    with pytest.raises(UnknownName, match='Did you mean "loss"'):
        four.experiments.list("losss < 1")
    with pytest.raises(UnknownName, match=r'Did you mean "optimizer\.lr"'):
        four.experiments.list(sort="lr")
    with pytest.raises(InvalidFilter, match="A value is missing"):
        four.experiments.list("n =")


def test_a_function_that_fails_on_every_experiment_is_an_error(
    four: keepsake.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValidationError, match=r"fails on every experiment\. On \w{7}: KeyError: 'm'") as caught:
        four.experiments.list(lambda experiment: experiment.params["m"] > 1)  # type: ignore[index]
    assert "The filter failed" not in capsys.readouterr().err
    assert caught.value.__context__ is None
    (found,) = four.experiments.list(lambda experiment: experiment.best().metrics["loss"] == 1)  # type: ignore[union-attr,index]
    assert params([found]) == [0]
    assert capsys.readouterr().err.count("The filter failed") == 1


def test_an_empty_repository_has_no_names_to_look_for(
    project_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keepsake.experiments.list("dropot != 0.5", sort="vall") == []
    assert keepsake.experiments.list(lambda experiment: 1 / 0) == []
    assert capsys.readouterr().err == ""
    mistyped = keepsake.Project(repository=f"file://{tmp_path}/mistyped")
    assert mistyped.experiments.list("loss < 1") == mistyped.experiments.list() == []
    assert capsys.readouterr().err.count("mistyped") == 2


def test_asking_each_listed_run_for_its_status_lists_the_heartbeats_once(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        keepsake.init(quiet=True).stop()
    running = keepsake.init(quiet=True)
    wait_until(lambda: running.status == "running")
    monkeypatch.setattr(Heartbeats, "of", None)  # a request for each run
    assert keepsake.experiments.list(lambda run: run.status == "running") == [running]
    [listed] = [run for run in keepsake.experiments.list() if run.status == "running"]
    running.stop()
    wait_until(lambda: listed.status == "stopped")
