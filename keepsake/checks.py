"""What may be in a record: paths, steps and primary metrics. Each check returns the problems, one text each."""

from __future__ import annotations

import os
from typing import Any

MAX_STEP = 2**63 - 1  # Keepsake 0.4.2 cannot read a record with a larger one


def check_path(path: object) -> list[str]:
    """Return the problems with the path of an experiment or checkpoint."""
    if path is None:
        return []
    if not isinstance(path, str):
        meant = " Name the argument that is meant: params=… or metrics=…." if isinstance(path, dict) else ""
        return [f"The path must be a string, not {type(path).__name__}.{meant}"]
    if os.path.isabs(path):
        return [f"The path must be relative to the project directory, not absolute: {path!r}."]
    if os.path.normpath(path).split(os.sep)[0] == "..":
        return [f"The path must lie in the project directory: {path!r}."]
    return []


def check_step(step: object) -> list[str]:
    """Return the problems with a step."""
    if step is None:
        return []
    if not isinstance(step, int) or isinstance(step, bool):
        return [f"The step must be an int, not {type(step).__name__}: {step!r:.50}."]
    return [] if -MAX_STEP <= step <= MAX_STEP else [f"The step must fit into 64 bits: {step!r:.50}."]


def check_primary_metric(primary: object, metrics: dict[str, Any]) -> list[str]:
    """Return the problems with a primary metric, given the checkpoint's metrics."""
    if primary is None:
        return []
    if not isinstance(primary, dict) or primary.keys() != {"name", "goal"}:
        return ["The primary metric must have a name and a goal."]
    problems = []
    if primary["name"] not in metrics:
        known = ", ".join(map(str, metrics)) or "none"
        problems.append(f"The primary metric {primary['name']!r} is not among the metrics ({known}).")
    if primary["goal"] not in ("maximize", "minimize"):
        problems.append(f"The goal of the primary metric must be 'maximize' or 'minimize', not {primary['goal']!r}.")
    return problems
