"""The parts of two or more runs that are compared: each run is an experiment with one of its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keepsake.compare.values import Values, all_differences
from keepsake.recording.machine import facts

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint
    from keepsake.comparison import Side
    from keepsake.experiment import Experiment

# Each group of values, and what it is called for people
GROUPS = {
    "experiment": "Experiment",
    "params": "Params",
    "python_packages": "Python Packages",
    "checkpoint": "Checkpoint",
    "metrics": "Metrics",
}


def compare_runs(sides: Sequence[Side]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return, for each of GROUPS, the names whose values differ, with the value of each run; NOT_SET if it has none."""
    groups = [_values(*side) for side in sides]
    surroundings = [facts(experiment.environment) for experiment, _ in sides]
    # A fact that one of them lacks does not count as a difference.
    for values, known in zip(groups, surroundings, strict=True):
        common = {name: fact for name, fact in known.items() if all(name in each for each in surroundings)}
        values["experiment"] = {**values["experiment"], **common}
    return {group: all_differences([values[group] for values in groups]) for group in GROUPS}


def _values(experiment: Experiment, checkpoint: Checkpoint | None) -> dict[str, Values]:
    return {
        "experiment": {
            "Command": experiment.command or "",
            "Created": experiment.created,
            "Host": experiment.host or "",
            "Python version": experiment.python_version or "",
            "User": experiment.user or "",
        },
        "params": experiment.params or {},
        "python_packages": experiment.python_packages or {},
        "checkpoint": {
            "Created": checkpoint.created,
            "Path": checkpoint.path or "",
            "Step": checkpoint.step or 0,
        }
        if checkpoint
        else {},
        "metrics": (checkpoint.metrics if checkpoint else None) or {},
    }
