"""Experiments as they would be listed, without a repository."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
from keepsake.collection import ExperimentList
from keepsake.experiment import Experiment
from keepsake.project import Project

MINIMIZE = PrimaryMetric(name="loss", goal="minimize")
MAXIMIZE = PrimaryMetric(name="loss", goal="maximize")
START = datetime(2024, 5, 1, 12, 0, 0)


def make(
    number: int,
    metrics: Sequence[dict[str, Any] | None],
    params: dict[str, Any] | None = None,
    primary: PrimaryMetric | None = MINIMIZE,
) -> Experiment:
    """An experiment with a checkpoint at every tenth step, one a minute."""
    experiment = Experiment(Project(), f"{number:07x}" + "0" * 57, START + timedelta(hours=number), params=params)
    experiment.checkpoints = CheckpointList(
        Checkpoint(f"{step:064x}", START + timedelta(hours=number, minutes=step), None, 10 * step, values, primary)
        for step, values in enumerate(metrics)
    )
    for checkpoint in experiment.checkpoints:
        checkpoint.experiment = experiment
    return experiment


def losses(number: int, *values: Any, primary: PrimaryMetric | None = MINIMIZE, **params: Any) -> Experiment:
    return make(number, [{"loss": value} for value in values], params, primary)


def search(count: int) -> ExperimentList:
    """A random search whose loss depends on the learning rate alone."""
    rng = random.Random(1)
    runs = []
    for number in range(count):
        lr = 10 ** rng.uniform(-4, 0)
        params = {
            "optimizer": {"name": rng.choice(("adam", "sgd")), "lr": lr},
            "width": rng.choice((64, 128, 256)),
            "seed": rng.randrange(1000),
        }
        runs.append(make(number, [{"loss": 2.0}, {"loss": abs(lr - 0.01) + 0.1}], params))
    return ExperimentList(runs)
