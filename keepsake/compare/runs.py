"""The differences between two experiments, each with one of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keepsake.compare.values import Differences, differences

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint
    from keepsake.experiment import Experiment

    Side = tuple[Experiment, Checkpoint | None]


@dataclass(frozen=True)
class Comparison:
    """The differences between two runs. Each is a name with the values of the left and the right run.

    Attributes:
        left, right: the experiments, each with its compared checkpoint, or None.
        experiment: differences in command, time, host, Python version and user.
        params, python_packages: differences of the experiments.
        checkpoint: differences in time, path and step of the checkpoints.
        metrics: differences of the checkpoints.
    """

    left: Side
    right: Side
    experiment: Differences
    params: Differences
    python_packages: Differences
    checkpoint: Differences
    metrics: Differences

    def to_json(self) -> dict[str, Any]:
        """Return the differences as plain values: `{"params": {"lr": [0.1, 0.2]}, …}`; None stands for "not set"."""
        groups = ("experiment", "params", "python_packages", "checkpoint", "metrics")
        return {group: {name: list(pair) for name, pair in getattr(self, group).items()} for group in groups}


def compare(left: Side, right: Side) -> Comparison:
    """Compare two experiments, each with one of its checkpoints."""
    return Comparison(
        left,
        right,
        differences(_experiment_facts(left[0]), _experiment_facts(right[0])),
        differences(left[0].params, right[0].params),
        differences(left[0].python_packages, right[0].python_packages),
        differences(_checkpoint_facts(left[1]), _checkpoint_facts(right[1])),
        differences(left[1].metrics if left[1] else None, right[1].metrics if right[1] else None),
    )


def _experiment_facts(experiment: Experiment) -> Mapping[str, Any]:
    return {
        "Command": experiment.command or "",
        "Created": experiment.created,
        "Host": experiment.host or "",
        "Python version": experiment.python_version or "",
        "User": experiment.user or "",
    }


def _checkpoint_facts(checkpoint: Checkpoint | None) -> Mapping[str, Any]:
    if checkpoint is None:
        return {}
    return {"Created": checkpoint.created, "Path": checkpoint.path or "", "Step": checkpoint.step or 0}
