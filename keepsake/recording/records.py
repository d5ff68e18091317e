"""The records of new experiments and checkpoints, made of what a script passes and checked."""

from __future__ import annotations

import operator
import os
from typing import Any

from keepsake.exceptions import ValidationError
from keepsake.metadata import EXPERIMENT_FIELDS, Record, time_text
from keepsake.recording import environment
from keepsake.util.console import warn
from keepsake.util.values import encode_mapping
from keepsake.version import __version__


def experiment_record(path: object, params: object, url: str) -> Record:
    """Return the record of an experiment that begins now in the repository at `url`. Raises ValidationError."""
    return {
        **EXPERIMENT_FIELDS,
        "id": os.urandom(32).hex(),
        "created": time_text(),
        "params": environment.without_secrets(encode_mapping(params, "params")) if params is not None else None,
        "host": environment.host_name(),
        "user": environment.user_name(),
        "config": {"repository": url, "storage": ""},
        "command": environment.command(),
        "path": text_path(path),
        "python_version": environment.python_version(),
        "keepsake_version": __version__,
    }


def checkpoint_record(
    path: object, step: object, metrics: object, primary_metric: object, more_metrics: dict[str, Any]
) -> Record:
    """Return the record of a checkpoint that is made now; its step is None if none is given. Raises ValidationError."""
    values = encode_mapping(metrics, "metrics") if metrics is not None else {}
    twice = values.keys() & more_metrics.keys()
    if twice:
        raise ValidationError(f"Metric {sorted(twice)[0]!r} is given twice, in metrics and as an argument of its own.")
    values.update(encode_mapping(more_metrics, "metrics"))
    primary = _primary(primary_metric)
    if step is not None and not isinstance(step, (int, bool)) and hasattr(step, "__index__"):
        step = operator.index(step)  # a NumPy integer
    problems = [*check_step(step), *check_primary_metric(primary, values)]
    if problems:
        raise ValidationError(problems[0])
    return {
        "id": os.urandom(32).hex(),
        "created": time_text(),
        "metrics": values or None,
        "step": step,
        "path": text_path(path),
        "primary_metric": primary,
    }


def text_path(path: object) -> str:
    """Return a path that a script gives as text, "" for None. Raises ValidationError."""
    if path is None:
        return ""
    problems = check_path(os.fspath(path) if isinstance(path, os.PathLike) else path)
    if problems:
        raise ValidationError(problems[0])
    return str(path)


def _primary(given: object) -> dict[str, Any] | None:
    if given is None:
        return None
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return {"name": given[0], "goal": given[1]}
    warn(f"primary_metric must be a pair such as ('loss', 'minimize'), not {given!r}. The checkpoint has none.")
    return None


def check_path(path: object) -> list[str]:
    """Return what is wrong with the path of an experiment or checkpoint."""
    if path is None:
        return []
    if not isinstance(path, str):
        return [f"path must be a string, not {type(path).__name__}"]
    if os.path.isabs(path):
        return [f"path must be relative to the project directory, not absolute: {path!r}"]
    if os.path.normpath(path).split(os.sep)[0] == "..":
        return [f"path must lie in the project directory: {path!r}"]
    return []


def check_step(step: object) -> list[str]:
    """Return what is wrong with a step."""
    if step is None or (isinstance(step, int) and not isinstance(step, bool)):
        return []
    return [f"step must be an int, not {type(step).__name__}"]


def check_primary_metric(primary: object, metrics: dict[str, Any]) -> list[str]:
    """Return what is wrong with a primary metric, given the checkpoint's metrics."""
    if primary is None:
        return []
    if not isinstance(primary, dict) or primary.keys() != {"name", "goal"}:
        return ["primary_metric must have a name and a goal"]
    problems = []
    if primary["name"] not in metrics:
        known = ", ".join(map(str, metrics)) or "none"
        problems.append(f"primary metric {primary['name']!r} is not among the metrics ({known})")
    if primary["goal"] not in ("maximize", "minimize"):
        problems.append(f"the goal of the primary metric must be 'maximize' or 'minimize', not {primary['goal']!r}")
    return problems
