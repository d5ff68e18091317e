"""Experiments and checkpoints as columns of equal length, which pandas, polars, pyarrow and DuckDB take as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.listing.subjects import WholeExperiment, flatten
from keepsake.status import statuses
from keepsake.util.values import full_text

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint
    from keepsake.experiment import Experiment

Columns = dict[str, list[Any]]

_FIELDS = ("user", "host", "command", "path", "python_version", "keepsake_version", "ended", "end_reason", "error")
_LABELS = ("name", "tags", "notes", "parent")
_BACKENDS = ("pandas", "polars")
_PLAIN: tuple[set[type], ...] = ({str}, {bool}, {datetime}, {timedelta}, {float}, set())
_INT64 = 2**63


def experiment_columns(experiments: Sequence[Experiment]) -> Columns:
    """Return the fields, the params, and the best and the last metrics, a row for each experiment."""
    subjects = [WholeExperiment(experiment) for experiment in experiments]
    picked = [subject.ends for subject in subjects]
    found = statuses(experiments)
    ends = {"best": [best for best, _ in picked], "latest": [latest for _, latest in picked]}
    columns: Columns = {
        "id": [experiment.id for experiment in experiments],
        "created": [experiment.created for experiment in experiments],
        "status": [found.get(experiment.id) for experiment in experiments],
        "duration": [
            experiment.time_to(latest["created"]) if latest else None
            for experiment, (_, latest) in zip(experiments, picked, strict=True)
        ],
    }
    columns |= {name: [getattr(experiment, name) for experiment in experiments] for name in _FIELDS}
    labels = [experiment.labels() for experiment in experiments]
    columns |= {name: _uniform([own.get(name) for own in labels]) for name in _LABELS}
    for kind, records in ends.items():
        columns[f"{kind}_checkpoint"] = [record and record["id"] for record in records]
        columns[f"{kind}_step"] = [(record.get("step") or 0) if record else None for record in records]
    columns |= _spread("params.", [experiment.params for experiment in experiments])
    columns |= _spread("best:", [subject.best_metrics for subject in subjects])
    columns |= _spread("last:", [subject.last_metrics for subject in subjects])
    return columns


def checkpoint_columns(checkpoints: Sequence[Checkpoint]) -> Columns:
    """Return the fields and metrics, a row for each checkpoint."""
    return {
        "experiment": [checkpoint.experiment and checkpoint.experiment.id for checkpoint in checkpoints],
        "id": [checkpoint.id for checkpoint in checkpoints],
        "created": [checkpoint.created for checkpoint in checkpoints],
        "step": [checkpoint.step for checkpoint in checkpoints],
        "path": [checkpoint.path for checkpoint in checkpoints],
        **_spread("metrics.", [checkpoint.metrics for checkpoint in checkpoints]),
    }


def to_frame(columns: Columns, backend: str) -> Any:
    """Return a DataFrame of `backend`: "pandas" or "polars".

    Raises:
        ValidationError: the backend is another one.
        MissingExtra: it is not installed.
    """
    if backend not in _BACKENDS:
        raise ValidationError(f"There is no backend {backend!r}. Choose from: {', '.join(map(repr, _BACKENDS))}.")
    try:
        if backend == "polars":
            import polars

            return polars.DataFrame(columns, strict=False)
        import pandas
    except ImportError as error:
        raise MissingExtra(f"DataFrames need {backend}. Install it with:\n    pip install {backend}") from error
    # Without a nullable type, pandas would make floats of integers, and objects of bools, where one is missing.
    nullable = {int: "Int64", bool: "boolean"}
    data: dict[str, Any] = dict(columns)
    for name, values in columns.items():
        types = set(map(type, values))
        if len(types) == 2 and type(None) in types and (dtype := next(filter(None, map(nullable.get, types)), None)):
            data[name] = pandas.array(values, dtype=dtype)
    return pandas.DataFrame(data)


def _spread(prefix: str, rows: Iterable[Mapping[str, Any] | None]) -> Columns:
    """Return a column for each name, with dicts under their paths, and None where a row lacks it."""
    flat = [flatten(row) if row else {} for row in rows]
    names = {name: None for row in flat for name in row}
    return {prefix + name: _uniform([row.get(name) for row in flat]) for name in names}


def _uniform(values: list[Any]) -> list[Any]:
    """Return values of one type. Lists, and values of several types, become text: strings as they are, others JSON."""
    types = set(map(type, values)) - {type(None)}
    if types in _PLAIN or (types == {int} and all(value is None or -_INT64 <= value < _INT64 for value in values)):
        return values
    if types <= {int, float}:
        try:
            return [None if value is None else float(value) for value in values]
        except OverflowError:  # an int of more than 308 digits
            pass
    return [value if value is None or isinstance(value, str) else full_text(value) for value in values]
