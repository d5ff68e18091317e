"""Jobs of many processes, with their real launchers: one run each."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import keepsake

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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def check_one_run() -> None:
    (experiment,) = keepsake.experiments.list()
    assert experiment.checkpoints.step == [0, 1, 2]
    assert experiment.checkpoints.metrics["rank"] == [0, 0, 0]


def test_torchrun(project_directory: Path) -> None:
    pytest.importorskip("torch")
    (project_directory / "train.py").write_text(TORCH)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=8", "train.py"]
    done = subprocess.run(launcher, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Creating experiment") == 1
    check_one_run()


def test_jax(project_directory: Path) -> None:
    pytest.importorskip("jax")
    (project_directory / "train.py").write_text(JAX)
    command = [sys.executable, "train.py", f"127.0.0.1:{free_port()}"]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(8)]
    assert [process.wait(timeout=280) for process in processes] == [0] * 8
    check_one_run()
