"""Jobs in a real SLURM, on this machine: queued again, as arrays, of several tasks, and by submitit."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import keepsake
from tests.frameworks.reading import all_recorded, recorded
from tests.frameworks.slurm import Cluster, missing
from tests.frameworks.test_requeueing import LIGHTNING, SUBMITIT
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=f"NOT TESTED in a real SLURM: {missing()} is not here"),
    pytest.mark.usefixtures("project_directory"),
]

TRAINING = """
import glob, os, time
import keepsake

attempt = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
experiment = keepsake.init(params={"task": os.environ.get("SLURM_ARRAY_TASK_ID", "")})
latest = experiment.latest()
looked = f"looked-{os.environ['SLURM_JOB_ID']}-{attempt}-"  # as with collectives, no rank is ahead of another
open(looked + os.environ["SLURM_PROCID"], "w").close()
while len(glob.glob(looked + "*")) < int(os.environ["SLURM_NTASKS"]):
    time.sleep(0.05)
for step in range(0 if latest is None else latest.step + 1, 9):
    experiment.checkpoint(step=step, metrics={"rank": int(os.environ["SLURM_PROCID"]), "attempt": attempt})
    if attempt < 2 and step == 2 + 3 * attempt and "SLURM_ARRAY_TASK_ID" not in os.environ:
        open(f"reached-{attempt}-{os.environ['SLURM_PROCID']}", "w").close()
        time.sleep(250)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


@pytest.fixture(autouse=True)
def _environment(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    monkeypatch.setenv("PYTHONPATH", str(Path(keepsake.__file__).parents[1]))


def has_reached(attempt: int) -> bool:
    """Whether all four tasks wait to be stopped."""
    return len(list(Path().glob(f"reached-{attempt}-*"))) == 4


def test_a_job_of_four_tasks_that_is_queued_again_twice(cluster: Cluster) -> None:
    """One run, which its first task records, with every step once."""
    Path("train.py").write_text(TRAINING)
    job = cluster.submit(f"srun -n 4 {sys.executable} train.py", "--requeue", "-n", "4")
    for attempt in range(2):
        wait_until(partial(has_reached, attempt), seconds=60)
        cluster.requeue(job, attempt + 1)
    cluster.wait(job)
    experiment = recorded()
    assert experiment.job == {"system": "slurm", "id": job, "restart": 2}
    assert experiment.checkpoints.step == list(range(9)), Path("job.out").read_text()
    assert experiment.checkpoints.metrics == {"rank": [0] * 9, "attempt": [0, 0, 0, 1, 1, 1, 2, 2, 2]}
    assert [restart["reason"] for restart in experiment.restarts] == ["terminated"] * 2
    assert experiment.end_reason == "finished"


def test_each_task_of_an_array_is_a_run(cluster: Cluster) -> None:
    """Two processes of each are one."""
    Path("train.py").write_text(TRAINING)
    job = cluster.submit(f"srun -n 2 {sys.executable} train.py", "--array=0-2", "-n", "2")
    cluster.wait(job)
    tasks = {(experiment.job or {})["id"]: experiment for experiment in all_recorded()}
    assert len(all_recorded()) == 3
    assert tasks.keys() == {f"{job}_{number}" for number in range(3)}
    assert [tasks[f"{job}_{number}"].params["task"] for number in range(3)] == ["0", "1", "2"]
    assert all(experiment.checkpoints.step == list(range(9)) for experiment in tasks.values())


def test_submitit(cluster: Cluster) -> None:
    """Its own handler has the job queued again."""
    submitit = pytest.importorskip("submitit", reason="`make test-frameworks` installs it")
    Path("training.py").write_text(SUBMITIT.replace(', resume="auto"', ""))
    executor = submitit.SlurmExecutor("log", python=sys.executable)
    executor.update_parameters(time=4, ntasks_per_node=2)
    sys.path.insert(0, "")
    try:
        job = executor.submit(importlib.import_module("training").Training())
    finally:
        sys.path.remove("")
        sys.modules.pop("training", None)
    for attempt in range(2):
        cluster.hurry(job.job_id, attempt + 1)
    cluster.wait(job.job_id)
    experiment = recorded()
    assert experiment.checkpoints.step == list(range(9))
    assert len(experiment.restarts) == 2
    assert experiment.end_reason == "finished"


def test_lightning(cluster: Cluster) -> None:
    """On SIGUSR1, Lightning saves and has the job queued again, and SLURM ends it."""
    pytest.importorskip("lightning", reason="`make test-frameworks` installs it")
    kill = "            os.kill(os.getpid(), signal.SIGKILL if attempt else signal.SIGTERM)\n"
    assert kill in LIGHTNING
    Path("train.py").write_text(
        LIGHTNING.replace(kill, "            time.sleep(60)\n").replace("import os,", "import os, time,")
    )
    job = cluster.submit(f"srun -n 1 {sys.executable} train.py", "--requeue", "-n", "1")
    for attempt in range(2):
        cluster.hurry(job, attempt + 1)
    cluster.wait(job)
    experiment = recorded()
    assert experiment.checkpoints.step == list(range(14)), Path("job.out").read_text()
    assert len(experiment.restarts) == 2
    assert experiment.end_reason == "finished"
