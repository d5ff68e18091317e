"""What all callbacks, trackers and writers share, without any framework."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import keepsake
from keepsake.integrations import lightgbm
from keepsake.integrations import recorder as recorders
from keepsake.integrations.boosting import BoostingCallback
from keepsake.integrations.recorder import Recorder
from keepsake.optuna import KeepsakeCallback
from tests.frameworks.reading import all_recorded, recorded

FORK = """
import multiprocessing, os
from keepsake.integrations.recorder import Recorder
recorder = Recorder(options={"path": None}, patience=60)
recorder.begin()
recorder.log({"parent": 1}, 1)

def record():
    recorder.log({"child": 1}, 5)
    os._exit(0)  # as a worker of a pool that is terminated

child = multiprocessing.get_context("fork").Process(target=record)
child.start()
child.join()
recorder.log({"parent": 2}, 2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.usefixtures("project_directory")
def test_a_forked_child_records_its_last_values_and_none_of_its_parent(run_python: Callable[..., str]) -> None:
    run_python(FORK)
    found = sorted((checkpoint.step, checkpoint.metrics) for checkpoint in recorded().checkpoints)
    assert found == [(1, {"parent": 1}), (2, {"parent": 2}), (5, {"child": 1})]


@pytest.mark.usefixtures("project_directory")
def test_a_value_that_changes_later_is_recorded_as_it_was_logged() -> None:
    """Trainings add up losses in one array, which changes while its value waits for the rest of its step."""
    numpy = pytest.importorskip("numpy", reason="`make install` installs it")
    recorder = Recorder(options={"path": None}, patience=60)
    recorder.begin()
    total = numpy.array(1.0)
    recorder.log({"loss": total}, 0)
    total += 1
    recorder.log({"loss": total}, 1)
    recorder.stop()
    assert [checkpoint.metrics for checkpoint in recorded().checkpoints] == [{"loss": 1.0}, {"loss": 2.0}]


class TrialPruned(Exception):
    """As Optuna's."""


@pytest.mark.usefixtures("project_directory")
def test_a_run_of_a_trial_that_is_pruned_has_not_failed() -> None:
    """Callbacks such as Optuna's for Lightning raise it in the middle of a training; a tag tells it."""
    recorder = Recorder(options={"path": None})
    recorder.begin()
    recorder.blame(TrialPruned())
    recorder.stop()
    with pytest.raises(TrialPruned), keepsake.init():
        raise TrialPruned
    assert [(run.end_reason, run.tags) for run in all_recorded()] == [("stopped", ["pruned"])] * 2


class Trial:
    """As Optuna's: its study says how it ended."""

    number = 3

    def __init__(self) -> None:
        self.state = SimpleNamespace(name="RUNNING")
        self.study = SimpleNamespace(get_trials=lambda deepcopy: [SimpleNamespace(number=3, state=self.state)])


@pytest.mark.usefixtures("project_directory")
def test_the_run_of_a_pruned_trial_gets_its_tag_where_the_callback_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keras and libraries for boosting tell callbacks of no exception. The next trial's training ends the run."""
    monkeypatch.setitem(sys.modules, "optuna.trial", SimpleNamespace(Trial=Trial))

    def objective(trial: Trial, state: str) -> Recorder:
        callback = BoostingCallback(None, {}, None, False, {"path": None})
        callback.begin({})
        trial.state = SimpleNamespace(name=state)
        return callback.recorder

    for state in ("PRUNED", "COMPLETE", "PRUNED"):
        last = objective(Trial(), state)
    last.stop()
    assert [(run.end_reason, run.tags) for run in all_recorded()] == [
        ("stopped", ["pruned"]),
        ("stopped", []),
        ("stopped", ["pruned"]),
    ]


def optimize(*values: float) -> Any:
    """A study of Optuna, and a trial of it that has ended with these values."""
    state, goal = SimpleNamespace(name="COMPLETE"), SimpleNamespace(name="MINIMIZE")
    study = SimpleNamespace(study_name="s", directions=[goal] * len(values), metric_names=None)
    trial = SimpleNamespace(
        number=0, state=state, params={"x": 1}, intermediate_values={}, values=values, duration=None
    )
    return study, trial


@pytest.mark.usefixtures("project_directory")
def test_a_value_of_a_trial_that_has_no_name_is_recorded() -> None:
    KeepsakeCallback(metric_names=["loss"], path=None)(*optimize(1.0, 2.0))
    assert recorded().latest().metrics == {"loss": 1.0, "value_1": 2.0}


@pytest.mark.usefixtures("project_directory")
def test_a_trial_in_a_job_is_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study in a job of Hydra has a run for each trial; none disappears into the run of the job."""
    with keepsake.init(params={"job": 1}) as job:
        monkeypatch.setattr(recorders, "job", job)
        KeepsakeCallback(path=None)(*optimize(1.0))
    assert [(run.name, run.params) for run in all_recorded()] == [(None, {"job": 1}), ("s 0", {"x": 1})]


def test_an_error_in_all_processes_of_a_job_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEEPSAKE_STRICT")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        assert not Recorder().attempt("The model was not saved", lambda: 1 / 0)
    assert capsys.readouterr().err.count("The model was not saved") == 1


@pytest.mark.usefixtures("project_directory")
def test_a_training_of_lightgbm_that_stopped_early_is_ended_by_the_next() -> None:
    """LightGBM does not say so. A training in another thread, as in a study with n_jobs, ends nothing."""
    begun: list[Any] = []
    other = threading.Thread(target=boost, args=(begun,))
    boost(begun)
    other.start()
    other.join()
    assert [run.status for run in all_recorded()] == ["running", "running"]
    boost(begun)
    assert [run.status for run in all_recorded()] == ["stopped", "running", "running"]
    for experiment in begun:
        experiment.stop()


def boost(begun: list[Any]) -> None:
    """Train the first of two iterations."""
    model = SimpleNamespace(save_model=lambda *_, **__: None)
    results = [("valid", "l2", 1.0, False)]
    callback = lightgbm.KeepsakeCallback(None, path=None)
    callback(
        SimpleNamespace(
            iteration=0, begin_iteration=0, end_iteration=2, params={}, model=model, evaluation_result_list=results
        )
    )
    begun.append(callback.experiment)


@pytest.mark.usefixtures("project_directory")
def test_a_training_in_a_job_adds_its_params_and_labels_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback of a training in a job of Hydra records into the run of the job."""
    with keepsake.init(params={"job": 1}, tags="a") as job:
        monkeypatch.setattr(recorders, "job", job)
        recorder = Recorder({"data": 2}, options={"name": "wide", "tags": ["b"], "notes": "n"})
        recorder.begin()
        recorder.stop()
    run = recorded()
    assert (run.params, run.name, run.tags, run.notes) == ({"job": 1, "data": 2}, "wide", ["a", "b"], "n")
