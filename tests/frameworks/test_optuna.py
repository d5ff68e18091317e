"""The callback for Optuna with the real Optuna: a study of made-up functions."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.reading import all_recorded, recorded

optuna = pytest.importorskip("optuna", reason="`make test-frameworks` installs it")

pytestmark = pytest.mark.usefixtures("project_directory")

PROGRAM = """
    import os, sys
    os.environ["KEEPSAKE_STRICT"] = "1"
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from keepsake.optuna import KeepsakeCallback

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        for step in range(3):
            trial.report(x + step, step)
        if trial.number % 10 == 3:
            raise optuna.TrialPruned()
        if trial.number % 10 == 7:
            raise ArithmeticError("no more")
        return x * x

    storage = optuna.storages.JournalStorage(JournalFileBackend("study.log"))
    study = optuna.create_study(storage=storage, study_name="squares", load_if_exists=True)
    keep = KeepsakeCallback(path=None)
    study.optimize(objective, n_trials=int(sys.argv[1]), callbacks=[keep], catch=(ArithmeticError,))
"""


def callback(**options: Any) -> Any:
    from keepsake.optuna import KeepsakeCallback

    return KeepsakeCallback(**options)


def check(experiments: Any, study: Any) -> None:
    """Each trial is an experiment, with its params, values, and the way in which it ended."""
    by_number = {int(experiment.name.split()[-1]): experiment for experiment in experiments}
    assert sorted(by_number) == [trial.number for trial in study.trials]
    for trial in study.trials:
        experiment = by_number[trial.number]
        assert experiment.params == trial.params
        assert list(experiment.tags or []) == (["pruned"] if trial.state.name == "PRUNED" else [])
        reported = experiment.checkpoints.metrics["value"][:3]
        assert reported == list(trial.intermediate_values.values())
        last = experiment.checkpoints[-1]
        step, status = {"COMPLETE": (3, "stopped"), "PRUNED": (2, "stopped"), "FAIL": (3, "failed")}[trial.state.name]
        assert (last.step, experiment.status) == (step, status)
        assert last.metrics.get("value") == trial.value


@pytest.mark.parametrize(("processes", "trials"), [(2, 10), pytest.param(8, 100, marks=pytest.mark.exhaustive)])
def test_many_processes(processes: int, trials: int) -> None:
    """They share a study: each trial is one experiment, complete, pruned or failed."""
    Path("program.py").write_text(textwrap.dedent(PROGRAM))
    counts = [trials // processes + (number < trials % processes) for number in range(processes)]
    running = [subprocess.Popen([sys.executable, "program.py", str(count)]) for count in counts]
    assert [process.wait(timeout=280) for process in running] == [0] * processes
    backend = optuna.storages.journal.JournalFileBackend("study.log")
    study = optuna.load_study(storage=optuna.storages.JournalStorage(backend), study_name="squares")
    experiments = all_recorded()
    assert len(experiments) == trials
    check(experiments, study)
    assert {experiment.name.split()[0] for experiment in experiments} == {"squares"}


def test_the_best_trial() -> None:
    """The primary metric is the value, with the study's direction; params of one's own are recorded too."""
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_int("n", 1, 9), n_trials=3, callbacks=[callback(params={"data": 1})])
    experiments = all_recorded()
    assert experiments[0].checkpoints.declared_metric() == {"name": "value", "goal": "maximize"}
    assert max(experiment.best().metrics["value"] for experiment in experiments) == study.best_value
    assert [experiment.name for experiment in experiments] == ["trial 0", "trial 1", "trial 2"]
    assert all(experiment.params.keys() == {"data", "n"} for experiment in experiments)
    assert all(experiment.path == "." for experiment in experiments)


@pytest.mark.parametrize("names", [None, ["loss", "size"]])
def test_several_objectives(names: list[str] | None) -> None:
    """Each has its name, or its number."""
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.optimize(
        lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=1, callbacks=[callback(metric_names=names)]
    )
    experiment = recorded()
    expected = names or ["value_0", "value_1"]
    assert experiment.latest().metrics.keys() == {*expected, "duration"}
    assert experiment.checkpoints.declared_metric() == {"name": expected[0], "goal": "minimize"}


def test_threads() -> None:
    """n_jobs."""
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=6, n_jobs=3, callbacks=[callback()])
    assert sorted(experiment.name for experiment in all_recorded()) == [f"trial {number}" for number in range(6)]


def test_a_study_goes_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Where its trials cannot be recorded, one line says why."""
    monkeypatch.delenv("KEEPSAKE_STRICT")
    Path("keepsake.yaml").write_text("repository: nonsense://here")
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3, callbacks=[callback()])
    assert len(study.trials) == 3
    assert capfd.readouterr().err.count("A trial is not recorded") == 1
