"""Jobs of many processes, with their real launchers: one run each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keepsake
from tests.storage.servers import free_port

TORCH = """
import torch, torch.distributed
import keepsake

torch.distributed.init_process_group("gloo")
experiment = keepsake.init(params={"lr": 0.1})
for epoch in range(3):
    loss = torch.tensor(1.0 / (1 + epoch))
    torch.distributed.all_reduce(loss)
    experiment.checkpoint(step=epoch, metrics={"loss": loss, "rank": torch.distributed.get_rank()})
torch.distributed.destroy_process_group()
"""
JAX = """
import sys
import jax
import keepsake

jax.distributed.initialize(sys.argv[1], num_processes=8, process_id=int(sys.argv[2]))
experiment = keepsake.init(params={"lr": 0.1})
for epoch in range(3):
    experiment.checkpoint(step=epoch, metrics={"rank": jax.process_index()})
jax.distributed.shutdown()
"""

# Of two workers, the one that does not record is killed first, then the other
RESTARTED = """
import os, signal, time
from pathlib import Path
import keepsake

restart, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])

def meet(where):  # as collective operations of a training do
    Path(f"{rank} {where} {restart}").touch()
    while not Path(f"{1 - rank} {where} {restart}").exists():
        time.sleep(0.01)

experiment = keepsake.init(params={"lr": 0.1})
latest = experiment.latest()
meet("begins")
for step in range(0 if latest is None else latest.step + 1, 9):
    experiment.checkpoint(step=step, metrics={"rank": rank, "restart": restart})
    if restart < 2 and step == 2 + 3 * restart:
        meet("stops")
        if rank != restart:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(250)
"""


def torchrun(*options: str) -> str:
    """Run train.py by the launcher, and return its messages."""
    launcher = [sys.executable, "-m", "torch.distributed.run", *options, "train.py"]
    done = subprocess.run(launcher, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def check_one_run() -> None:
    (experiment,) = keepsake.experiments.list()
    assert experiment.checkpoints.step == [0, 1, 2]
    assert experiment.checkpoints.metrics["rank"] == [0, 0, 0]


def test_torchrun(project_directory: Path) -> None:
    pytest.importorskip("torch")
    (project_directory / "train.py").write_text(TORCH)
    messages = torchrun("--standalone", "--nproc-per-node=8")
    assert messages.count("Creating experiment") == 1
    check_one_run()


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
@pytest.mark.parametrize("rendezvous", [["--standalone"], []], ids=["an ID", "no ID"])
def test_torchrun_restarts_its_workers(project_directory: Path, rendezvous: list[str]) -> None:
    """Whichever of them has died, the run goes on, with every step once."""
    pytest.importorskip("torch")
    (project_directory / "train.py").write_text(RESTARTED)
    messages = torchrun(*rendezvous, f"--master-port={free_port()}", "--nproc-per-node=2", "--max-restarts=2")
    assert messages.count("Creating experiment") == 1
    assert messages.count("Going on with experiment") == 2
    (experiment,) = keepsake.experiments.list()
    assert experiment.checkpoints.step == list(range(9))
    assert experiment.checkpoints.metrics == {"rank": [0] * 9, "restart": [0, 0, 0, 1, 1, 1, 2, 2, 2]}
    assert (experiment.job or {})["restart"] == len(experiment.restarts) == 2
    assert experiment.end_reason == "finished"


def test_jax(project_directory: Path) -> None:
    pytest.importorskip("jax")
    (project_directory / "train.py").write_text(JAX)
    command = [sys.executable, "train.py", f"127.0.0.1:{free_port()}"]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(8)]
    assert [process.wait(timeout=280) for process in processes] == [0] * 8
    check_one_run()
