"""Jobs that Lightning and submitit have queued again, here without a scheduler: each is one run, every step once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.reading import recorded

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the signals are of POSIX"),
    pytest.mark.usefixtures("project_directory"),
]

# The scheduler says that the job's time is over, and two steps later ends it: once by SIGTERM, then by SIGKILL
LIGHTNING = """
import os, signal
import lightning.pytorch as pl, torch
from lightning.pytorch.plugins.environments import SLURMEnvironment
from keepsake.lightning import KeepsakeLogger

attempt = int(os.environ.get("SLURM_RESTART_COUNT", "0"))

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("train_loss", loss)
        if attempt < 2 and self.global_step == 3 + 4 * attempt:
            os.kill(os.getpid(), signal.SIGUSR1)
        if attempt < 2 and self.global_step == 5 + 4 * attempt:
            os.kill(os.getpid(), signal.SIGKILL if attempt else signal.SIGTERM)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(80, 1)), batch_size=2)
trainer = pl.Trainer(
    max_steps=12, accelerator="cpu", log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False, logger=KeepsakeLogger(), plugins=[SLURMEnvironment(auto_requeue=True)],
)
trainer.fit(Model(), data)
"""
SUBMITIT = """
import os, signal, sys
import submitit
import keepsake

class Training:
    def __call__(self):
        experiment = keepsake.init(params={"lr": 0.1}, resume="auto")
        latest = experiment.latest()
        for step in range(0 if latest is None else latest.step + 1, 9):
            experiment.checkpoint(step=step, metrics={"rank": submitit.JobEnvironment().global_rank})
            if step in (2, 5) and experiment.id:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGUSR2)
        return bool(experiment.id)

    def checkpoint(self):
        return submitit.helpers.DelayedSubmission(self)
"""
SUBMIT = """
import submitit, training

executor = submitit.AutoExecutor("log", cluster="local")
executor.update_parameters(timeout_min=4, tasks_per_node=2)
print(executor.submit(training.Training()).results())
"""


def check(steps: int) -> None:
    """Each step was recorded once, in one run that was started three times."""
    experiment = recorded()
    assert experiment.checkpoints.step == list(range(steps))
    assert len(experiment.restarts) == 2
    assert experiment.end_reason == "finished"


def test_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SIGUSR1, Lightning saves, has the job queued again and trains on. What is trained twice is there once."""
    pytest.importorskip("lightning", reason="`make test-frameworks` installs it")
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {commands}/called\n')
    (commands / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    job = {"JOB_ID": "42", "JOB_NAME": "train", "NTASKS": "1", "NTASKS_PER_NODE": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in {**job, "NODEID": "0", "NODELIST": "localhost"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    Path("train.py").write_text(LIGHTNING)
    statuses = []
    for attempt in range(3):
        if attempt:
            monkeypatch.setenv("SLURM_RESTART_COUNT", str(attempt))
        done = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, timeout=120)
        statuses.append(done.returncode)
    assert statuses == [0, -9, 0], done.stderr
    assert (commands / "called").read_text() == "requeue 42\n" * 2
    check(steps=12 + 2)  # Lightning's own number of a step goes up by one when it saves in the middle of a step


def test_submitit() -> None:
    """Of its two tasks, the first one records. On SIGUSR2, submitit starts both again."""
    pytest.importorskip("submitit", reason="`make test-frameworks` installs it")
    Path("training.py").write_text(SUBMITIT)
    Path("submit.py").write_text(SUBMIT)
    done = subprocess.run([sys.executable, "submit.py"], capture_output=True, text=True, timeout=240)
    assert done.stdout == "[True, False]\n", done.stderr
    check(steps=9)
