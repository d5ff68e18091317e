"""One run per job: the first process records. The others touch no file, print nothing and lose no time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import DoesNotExist, ValidationError
from keepsake.inert import InertExperiment
from keepsake.recording import ranks

SCRIPT = """
import sys
import keepsake
before = set(sys.modules)
with keepsake.init(path="train.py", params={"lr": 0.1}) as experiment:
    for epoch in range(3):
        experiment.checkpoint(path="train.py", step=epoch, loss=1 / (1 + epoch), primary_metric=("loss", "minimize"))
    assert experiment.best().step == experiment.latest().step == 2
if not experiment.id:
    assert set(sys.modules) == before, set(sys.modules) - before
"""


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "8"}, 0),
        ({"RANK": "7", "LOCAL_RANK": "3", "WORLD_SIZE": "8"}, 7),
        ({"RANK": "0", "SLURM_PROCID": "1"}, 0),  # torchrun in each task of srun
        ({"RANK": "", "SLURM_PROCID": "2"}, 2),
        ({"RANK": "first"}, 0),
        ({"SLURM_JOB_ID": "5"}, 0),  # salloc
        ({"SLURM_JOB_ID": "5", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, 0),  # a batch script
        ({"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SLURM_PROCID": "0"}, 0),
        ({"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SLURM_PROCID": "1"}, 1),
        ({"OMPI_COMM_WORLD_RANK": "0", "SLURM_PROCID": "1"}, 0),  # mpirun's daemon on the second node
        ({"OMPI_COMM_WORLD_RANK": "4"}, 4),
        ({"PMIX_RANK": "1"}, 1),
        ({"PMI_RANK": "2"}, 2),
        ({"SUBMITIT_LOCAL_GLOBALID": "1", "SLURM_PROCID": "0"}, 1),
        ({"LOCAL_RANK": "1"}, 1),  # Lightning starts the other processes so
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1),
        ({"RANK": "3", "KEEPSAKE_RANK": "0"}, 0),
        ({"RANK": "0", "KEEPSAKE_RANK": "1"}, 1),
        ({"RANK": "3", "KEEPSAKE_RANK": ""}, 3),
    ],
)
def test_the_rank_is_what_launchers_say(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], rank: int
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ranks.rank() == rank
    assert ranks.records() == (rank == 0)


def jax(process: int, *, client: object = None, devices: bool = False) -> dict[str, Any]:
    state = SimpleNamespace(client=client, process_id=process)
    return {
        "jax": SimpleNamespace(process_index=lambda: process),
        "jax._src.distributed": SimpleNamespace(global_state=state),
        "jax._src.xla_bridge": SimpleNamespace(backends_are_initialized=lambda: devices),
    }


def torch(rank: int, *, ready: bool = True) -> dict[str, Any]:
    calls = {"is_available": lambda: True, "is_initialized": lambda: ready, "get_rank": lambda: rank}
    return {"torch.distributed": SimpleNamespace(**calls)}


@pytest.mark.parametrize(
    ("modules", "rank"),
    [
        (jax(3), 0),  # it would have to look for devices to tell
        (jax(3, client=object()), 3),
        (jax(3, devices=True), 3),
        ({"jax": SimpleNamespace(), "jax._src.distributed": SimpleNamespace()}, 0),
        (torch(2), 2),
        (torch(2, ready=False), 0),
        ({"torch.distributed": SimpleNamespace()}, 0),
    ],
)
def test_frameworks_tell_the_rank_where_no_launcher_does(
    monkeypatch: pytest.MonkeyPatch, modules: dict[str, Any], rank: int
) -> None:
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert ranks.rank() == rank


def test_a_rank_that_is_not_a_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_RANK", "first")
    with pytest.raises(ValidationError, match="KEEPSAKE_RANK is 'first'"):
        keepsake.init()


def test_a_worker_of_a_data_loader_begins_no_run(monkeypatch: pytest.MonkeyPatch, project_directory: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.data", SimpleNamespace(get_worker_info=lambda: object()))
    assert isinstance(keepsake.init(), InertExperiment)
    monkeypatch.setitem(sys.modules, "torch.utils.data", SimpleNamespace(get_worker_info=lambda: None))
    assert not isinstance(keepsake.init(), InertExperiment)


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")])
def test_eight_processes_make_one_run(project_directory: Path, names: tuple[str, str]) -> None:
    (project_directory / "train.py").write_text(SCRIPT)
    processes = [
        subprocess.Popen(
            [sys.executable, "train.py"],
            env={**os.environ, names[0]: str(rank), names[1]: "8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(8)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert "Creating experiment" in outputs[0]
    assert outputs[1:] == [""] * 7
    (experiment,) = keepsake.experiments.list()
    assert experiment.checkpoints.step == [0, 1, 2]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_multiprocessing_begin_no_run(project_directory: Path, method: str) -> None:
    """They read the script again, up to the guard."""
    if sys.platform == "win32" and method != "spawn":
        pytest.skip("there is no fork")
    (project_directory / "train.py").write_text(
        "import multiprocessing, keepsake\nexperiment = keepsake.init()\n"
        "def work(number):\n    return number if experiment.checkpoint(number=number) else None\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        assert pool.map(work, range(4)) == [0, 1, 2, 3]\n"
    )
    done = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.count("Creating experiment") == 1
    (experiment,) = keepsake.experiments.list()
    assert len(experiment.checkpoints) == (4 if method == "fork" else 0)


def test_a_pool_of_trainings_makes_a_run_each(project_directory: Path) -> None:
    (project_directory / "train.py").write_text(
        "import multiprocessing, keepsake\n"
        "def train(number):\n    keepsake.init(params={'n': number}, quiet=True).stop()\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n        pool.map(train, range(3))\n"
    )
    subprocess.run([sys.executable, "train.py"], timeout=120, check=True)
    assert sorted((experiment.params or {})["n"] for experiment in keepsake.experiments.list()) == [0, 1, 2]


@pytest.fixture
def inert(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> keepsake.Experiment:
    monkeypatch.setenv("RANK", "1")
    return keepsake.init(path="train.py", params={"lr": 0.1, "layers": [1, 2]})


def test_an_inert_experiment_has_the_whole_interface(inert: keepsake.Experiment, project_directory: Path) -> None:
    """It touches no file."""
    assert isinstance(inert, keepsake.Experiment)
    assert (inert.id, inert.path, inert.params) == ("", "train.py", {"lr": 0.1, "layers": [1, 2]})
    assert (inert.best(), inert.latest(), inert.duration, inert.primary_metric()) == (None, None, None, None)
    first = inert.checkpoint(loss=0.5, primary_metric=("loss", "min"))
    other = inert.checkpoint("model.pth", metrics={"loss": 0.7, "tensor": object()})
    assert isinstance(first, keepsake.Checkpoint)
    assert isinstance(other, keepsake.Checkpoint)
    assert (first.id, first.step, other.step, other.path, other.metrics) == ("", 0, 1, "model.pth", {"loss": 0.7})
    assert inert.best() is first
    assert inert.latest() is other
    assert inert.checkpoint(step="x", metrics=5, primary_metric="loss") is not None  # type: ignore[arg-type]
    inert.checkout()
    other.checkout(".")
    inert.refresh()
    inert.delete()
    inert.name = "wide"
    inert.tag("a", "b, c", remove=["d"])
    inert.note("fine")
    assert (inert.name, inert.tags, inert.notes, inert.parent, inert.children()) == ("wide", ["a"], "fine", None, [])
    for owner in (inert, other):
        with pytest.raises(DoesNotExist, match="first process"):
            owner.open("model.pth")
    assert inert.to_json()["params"] == {"lr": 0.1, "layers": [1, 2]}
    assert "0.5" in inert._repr_html_()
    assert (inert.status, inert.is_running()) == ("running", True)
    inert.stop()
    assert (inert.status, inert.end_reason) == ("stopped", "stopped")
    assert [path.name for path in project_directory.iterdir()] == ["keepsake.yaml"]


def test_a_mistake_is_one_in_every_process(inert: keepsake.Experiment) -> None:
    with pytest.raises(ValidationError, match="path"):
        keepsake.init(path="/etc")
    with pytest.raises(ValidationError, match="params"):
        keepsake.init(params=5)  # type: ignore[arg-type]


def test_reading_works_in_every_process(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding to a run that was read is left to the first, and so is ending it."""
    experiment = keepsake.init()
    experiment.checkpoint(loss=0.5)
    monkeypatch.setenv("RANK", "1")
    (found,) = keepsake.experiments.list()
    assert found.checkpoints.metrics["loss"] == [0.5]
    made = found.checkpoint(loss=0.4)
    found.stop()
    assert made is not None
    assert (made.id, found.status) == ("", "running")
    assert len(keepsake.experiments.get(experiment.id).checkpoints) == 1
