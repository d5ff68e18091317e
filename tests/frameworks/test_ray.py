"""The callback for Ray Tune with the real Ray: a search on this machine."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.reading import HEAVY, all_recorded

ray = pytest.importorskip("ray", reason=HEAVY)

GUIDE = Path(__file__).parents[2] / "docs/guides/callbacks.md"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, object_store_memory=80_000_000)
    yield
    ray.shutdown()


def train(config: dict[str, Any]) -> None:
    """Report three results, with a file each. The trial with the rate 3 fails once, the one with 4 always."""
    import json
    import tempfile

    from ray import tune

    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            start = json.loads(Path(directory, "state.json").read_text())["step"] + 1
    rate = config["optimizer"]["rate"]
    for step in range(start, 3):
        if step == 2 and (rate == 4 or (rate == 3 and start == 0)):
            raise ArithmeticError("no more")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state.json").write_text(json.dumps({"step": step}))
            tune.report(
                {"loss": rate / (step + 1), "val": {"acc": step}}, checkpoint=tune.Checkpoint.from_directory(directory)
            )


def test_the_program_of_the_guide(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It records a run per trial."""
    section = GUIDE.read_text("utf-8").partition("\n## Ray Tune\n")[2]
    program = section.partition("```python\n")[2].partition("```")[0]
    monkeypatch.setenv("HOME", str(project_directory / "home"))
    exec(program, {})
    recorded = {experiment.params["lr"]: experiment.checkpoints.metrics["loss"] for experiment in all_recorded()}
    assert recorded == {lr: [lr, lr / 2, lr / 3] for lr in (0.1, 0.2)}


def test_a_search(project_directory: Path) -> None:
    """A run per trial, with its config, results and files. One that is started again has every step once."""
    from ray import tune

    from keepsake.ray import KeepsakeCallback

    tuner = tune.Tuner(
        train,
        param_space={"optimizer": {"rate": tune.grid_search([1, 3, 4])}},
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=1),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(project_directory / "results"),
            callbacks=[KeepsakeCallback({"data": "v2"}, ("loss", "minimize"), tags=["search"], path=None)],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    tuner.fit()
    experiments = {experiment.params["optimizer.rate"]: experiment for experiment in all_recorded()}
    assert len(all_recorded()) == 3
    assert experiments.keys() == {1, 3, 4}
    assert [experiments[rate].status for rate in (1, 3, 4)] == ["stopped", "stopped", "failed"]
    for rate, steps in [(1, 3), (3, 3), (4, 2)]:
        experiment = experiments[rate]
        assert experiment.params == {"optimizer.rate": rate, "data": "v2"}
        assert experiment.name.startswith("train_")
        assert experiment.tags == ["search"]
        assert experiment.checkpoints.step == [1, 2, 3][:steps]
        assert experiment.checkpoints.metrics["loss"] == [rate, rate / 2, rate / 3][:steps]
        assert experiment.checkpoints.metrics["val.acc"] == [0, 1, 2][:steps]
        assert experiment.checkpoints.declared_metric() == {"name": "loss", "goal": "minimize"}
        latest = experiment.latest()
        with latest.open(f"{latest.path}/state.json") as file:
            assert file.read() == b'{"step": %d}' % (steps - 1)
    assert len(experiments[3].restarts) == 1


def test_the_trials_of_a_search_in_a_job_are_runs_of_their_own(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Hydra's callback, which begins a run for the job."""
    from ray import tune

    import keepsake
    from keepsake.integrations import recorder
    from keepsake.ray import KeepsakeCallback

    with keepsake.init(params={"job": 1}) as job:
        monkeypatch.setattr(recorder, "job", job)
        tuner = tune.Tuner(
            train,
            param_space={"optimizer": {"rate": tune.grid_search([1, 2])}},
            run_config=tune.RunConfig(
                storage_path=str(project_directory / "results"), callbacks=[KeepsakeCallback(path=None)], verbose=0
            ),
        )
        tuner.fit()
    recorded = [(experiment.params, len(experiment.checkpoints)) for experiment in all_recorded()]
    assert recorded == [({"job": 1}, 0), ({"optimizer.rate": 1}, 3), ({"optimizer.rate": 2}, 3)]


def test_a_config_that_the_scheduler_changes(project_directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What population based training changes is a metric of the checkpoints after that. Trials run side by side."""
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    from keepsake.ray import KeepsakeCallback

    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        hyperparam_mutations={"optimizer": {"rate": [1, 2]}},
        quantile_fraction=0.5,
        synch=True,
    )
    tuner = tune.Tuner(
        train,
        param_space={"optimizer": {"rate": tune.grid_search([1, 2])}},
        tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler=scheduler),
        run_config=tune.RunConfig(
            storage_path=str(project_directory / "results"), callbacks=[KeepsakeCallback(path=None)], verbose=0
        ),
    )
    tuner.fit()
    for experiment in all_recorded():
        first = experiment.params["optimizer.rate"]
        assert len(experiment.checkpoints) >= 3
        for checkpoint in experiment.checkpoints:
            rate = checkpoint.metrics.get("config.optimizer.rate", first)
            assert checkpoint.metrics["loss"] == rate / (checkpoint.metrics["val.acc"] + 1)
    assert "was not stopped" not in capfd.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="SIGUSR1 is of POSIX")
def test_a_search_that_is_interrupted(project_directory: Path) -> None:
    """Ray ends in good order then, but the trial has not finished. The restored search goes on with its run."""
    from ray import tune

    from keepsake.ray import KeepsakeCallback

    class Interrupter(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            if not Path("interrupted").exists():
                Path("interrupted").touch()
                os.kill(os.getpid(), signal.SIGUSR1)

    tuner = tune.Tuner(
        train,
        param_space={"optimizer": {"rate": 1}},
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(project_directory / "results"),
            callbacks=[KeepsakeCallback(path=None), Interrupter()],
            verbose=0,
        ),
    )
    handler = signal.getsignal(signal.SIGUSR1)
    try:
        tuner.fit()
        (experiment,) = all_recorded()
        assert (experiment.end_reason, experiment.checkpoints.step) == ("interrupted", [1])
        tune.Tuner.restore(str(project_directory / "results/search"), train).fit()
    finally:
        signal.signal(signal.SIGUSR1, handler)
    (experiment,) = all_recorded()
    assert experiment.checkpoints.step == [1, 2, 3]
    assert (experiment.end_reason, len(experiment.restarts)) == ("stopped", 1)
