"""The records of new experiments and checkpoints, made from a script's arguments and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from keepsake.checks import check_path, check_primary_metric, check_step
from keepsake.exceptions import ValidationError
from keepsake.metadata import EXPERIMENT_FIELDS, Record, time_text
from keepsake.recording import environment
from keepsake.recording.complaints import Problem
from keepsake.util.directories import below
from keepsake.util.foreign import text_of
from keepsake.util.values import decode, encode, encode_mapping, mapping_of, text_of_key
from keepsake.version import __version__

_GOALS = {
    **dict.fromkeys(("min", "minimum", "minimise", "minimize"), "minimize"),
    **dict.fromkeys(("max", "maximum", "maximise", "maximize"), "maximize"),
}
_ARGUMENTS = ("path", "step", "metrics", "primary_metric", "quiet")
_PLAIN = (bool, int, float, str)
_LIKENESS = 0.85  # `metric` is close to `metrics`, `path_norm` is not close to `path`


def experiment_record(
    path: object, params: object, url: str, project_directory: Path, job: Record | None = None
) -> Record:
    """Return the record of an experiment that begins now in the repository at `url`, as part of a scheduler's job.

    Raises ValidationError.
    """
    launch = environment.launch(project_directory)
    return {
        **EXPERIMENT_FIELDS,
        "id": os.urandom(32).hex(),
        "created": time_text(),
        "params": environment.without_secrets(encode_mapping(params, "params")) if params is not None else None,
        "host": environment.host_name(),
        "user": environment.user_name(),
        "config": {"repository": url, "storage": ""},
        "command": environment.command(),
        "path": text_path(path, project_directory),
        "python_version": environment.python_version(),
        "keepsake_version": __version__,
        **({"launch": launch} if launch else {}),
        **({"job": job} if job else {}),
    }


def checkpoint_record(
    path: object,
    step: object,
    metrics: object,
    primary_metric: object,
    more_metrics: dict[str, Any],
    directory: Path | None,
) -> tuple[Record, list[Problem]]:
    """Return the record of a checkpoint that is made now, with everything that can be recorded, and the problems.

    Its step is None if no valid one is given. The project directory is needed for an absolute path.
    """
    problems: list[Problem] = []
    values = _metrics(metrics, more_metrics, problems)
    return {
        "id": os.urandom(32).hex(),
        "created": time_text(),
        "metrics": values or None,
        "step": _step(step, problems),
        "path": _path(path, directory, problems),
        "primary_metric": _primary(primary_metric, values, (more_metrics, metrics), problems),
    }, problems


def inert_record(
    path: object, step: object, metrics: object, primary_metric: object, more_metrics: dict[str, Any], next_step: int
) -> Record:
    """Return the record of a checkpoint that is not recorded, with an empty ID.

    Metrics other than plain numbers, texts and booleans are left out: reading a tensor would wait for the GPU.
    """
    given = {**more_metrics, **(metrics if isinstance(metrics, Mapping) else {})}
    plain = {name: value for name, value in given.items() if isinstance(value, _PLAIN)}
    record, _ = checkpoint_record(path, step, plain, primary_metric, {}, None)
    return {**record, "id": "", "step": next_step if record["step"] is None else record["step"]}


def _metrics(metrics: object, more: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    try:
        given = {} if metrics is None else mapping_of(metrics, "metrics")
    except ValidationError as error:
        given = {}
        problems.append(Problem("metrics", str(error)))
    if more:
        for name in more.keys() & given.keys():
            why = f"Metric {name!r} is given twice, in metrics and as a separate argument. The one in metrics counts."
            problems.append(Problem("", why))
        for name in more:
            if name not in given and (meant := _meant(name)):
                problems.append(
                    Problem("", f"{name!r} is recorded as a metric. If you mean {meant}, use that name.", False)
                )
        given = {**more, **given}
    if not any(map(callable, given.values())):
        with suppress(ValidationError):  # this nearly always succeeds
            return encode_mapping(given, "metrics")
    return _valid_metrics(given, problems)


def _valid_metrics(given: Mapping[Any, Any], problems: list[Problem]) -> dict[str, Any]:
    """Encode each metric by itself, and leave out those that cannot be recorded."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = text_of_key(key)
        place = f"metrics[{name!r}]"
        try:
            if name in values:
                raise ValidationError(f"Two keys of metrics are the same as text: {name!r}. Rename one of them.")
            if callable(value):
                shown = f"a {type(value).__name__} ({text_of(value) or type(value).__name__:.60})"
                raise ValidationError(f"{place} is {shown}, not a value. Record what it returns.")
            values[name] = encode(value, place)
        except ValidationError as error:
            problems.append(Problem(f"metric {name!r}", str(error)))
    return values


@lru_cache(maxsize=256)
def _meant(name: str) -> str | None:
    """Return the argument of checkpoint() that a keyword probably misspells; None if it is a metric."""
    try:
        from difflib import get_close_matches
    except ImportError:  # Python was upgraded or removed while the program ran
        return None
    return next(iter(get_close_matches(name.lower(), _ARGUMENTS, n=1, cutoff=_LIKENESS)), None)


def _step(step: object, problems: list[Problem]) -> int | None:
    value: Any = step
    if step is not None and type(step) is not int:
        with suppress(ValidationError):
            value = encode(step, "step")  # it may come from NumPy or a framework
        if isinstance(value, float) and value.is_integer():
            value = int(value)
    wrong = check_step(value)
    if wrong:
        problems.append(Problem("its step", wrong[0]))
    return None if wrong else value


def _path(path: object, directory: Path | None, problems: list[Problem]) -> str:
    try:
        text = text_path(path, directory)
    except ValidationError as error:
        problems.append(Problem("its files", str(error)))
        return ""
    if path is not None and not text:
        why = "The path is empty. Give a file or a directory, such as '.' for the whole project."
        problems.append(Problem("its files", why, is_error=False))
    return text


def _primary(
    given: object, metrics: dict[str, Any], all_metrics: tuple[object, ...], problems: list[Problem]
) -> dict[str, Any] | None:
    """Return the primary metric as it is recorded. `all_metrics` are what the script gave, recorded or not."""
    if given is None:
        return None
    if isinstance(given, dict) and given.keys() == {"name", "goal"}:
        given = (given["name"], given["goal"])
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        why = f"The primary metric must be a pair such as ('loss', 'minimize'), not {given!r:.50}."
        problems.append(Problem("a primary metric", why, is_error=False))
        return None
    name, goal = text_of_key(given[0]), given[1]
    primary = {"name": name, "goal": _GOALS.get(goal.lower(), goal) if isinstance(goal, str) else goal}
    wrong = check_primary_metric(primary, metrics)
    if wrong:
        if name in metrics or not any(
            _has_name(mapping, name) for mapping in all_metrics
        ):  # otherwise the problem of the metric itself says it
            problems.append(Problem("a primary metric", wrong[0]))
        return None
    value = decode(metrics[name])
    if isinstance(value, (str, list, dict)):
        why = f"The primary metric {name!r} is of type {type(value).__name__} ({value!r:.50})"
        problems.append(Problem("", f"{why}. Only numbers can be compared. Record float() of it.", is_error=False))
    return primary


def _has_name(metrics: object, name: str) -> bool:
    return isinstance(metrics, Mapping) and name in map(text_of_key, metrics)


def text_path(path: object, directory: Path | None) -> str:
    """Return a script's path as it is recorded, "" for None. Raises ValidationError.

    An absolute path in the project `directory` becomes relative. Without a directory, it stays as it is.
    """
    if path is None:
        return ""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if isinstance(text, str) and os.path.isabs(text):
        if directory is not None and (relative := below(text, directory)) is None:
            raise ValidationError(
                f"The path {text!r} is outside the project directory, {directory}. Save the files there."
            )
        return text if directory is None else str(relative)
    if problems := check_path(text):
        raise ValidationError(problems[0])
    return str(text)
