"""The database of MLflow, `mlflow.db`, which is SQLite."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keepsake.exceptions import KeepsakeError
from keepsake.importing import mlflow
from keepsake.importing.database import count_rows, files_of, has_tables, opened
from keepsake.importing.found import Found
from keepsake.importing.runs import ForeignRun, typed

if TYPE_CHECKING:
    import sqlite3

TOOL = "mlflow"
_INFINITE = 1.7976931348623157e308
_RUNS = """
    select r.run_uuid, r.name, r.user_id, r.status, r.start_time, r.end_time, r.artifact_uri, r.lifecycle_stage, e.name
    from runs r left join experiments e on e.experiment_id = r.experiment_id order by r.start_time, r.run_uuid
"""
_POINTS = """
    select key, step, timestamp, value, is_nan from metrics where run_uuid = ? order by timestamp, step, rowid
"""
_COUNTED = {"datasets": "datasets", "trace_info": "traces", "registered_models": "registered models"}


def recognise(source: Path) -> Path | None:
    """Return the database at `source` or in that folder; None if there is none."""
    for place in (source, source / "mlflow.db"):
        if has_tables(place, {"runs", "metrics", "params", "tags", "experiments"}):
            return place
    return None


def runs(database: Path, left_out: Counter[str]) -> Iterator[Found | KeepsakeError]:
    """Yield the runs of a database."""
    with opened(database) as connection:
        count_rows(connection, _COUNTED, left_out)
        rows = [_Row(*row) for row in connection.execute(_RUNS)]
    for row in rows:
        if row.stage == "deleted":
            left_out["deleted runs"] += 1
            continue
        yield Found(database, partial(_run, database, row), files_of(database), row.key)


class _Row(NamedTuple):
    """A run in the table of runs."""

    key: str
    name: str | None
    user: str | None
    status: str
    start: int | None  # milliseconds
    end: int | None
    artifacts: str | None
    stage: str
    group: str | None  # the name of its experiment


def _run(database: Path, row: _Row) -> ForeignRun:
    run = ForeignRun(TOOL, row.key, database, name=row.name or "", user=row.user or "")
    run.group, run.collection = row.group or "", "experiment"
    with opened(database) as connection:
        run.created = None if row.start is None else row.start / 1000
        run.params = {name: typed(value) for name, value in _pairs(connection, "params", row.key).items()}
        for metric, step, time, value, is_nan in connection.execute(_POINTS, (row.key,)):
            run.add(metric, step or 0, None if time is None else time / 1000, _value(value, is_nan))
        mlflow.end(run, row.status, row.end)
        mlflow.describe(run, _pairs(connection, "tags", row.key))
    mlflow.take_artifacts(run, None, row.artifacts or "", database.parent / "mlruns", database.parent)
    return run


def _value(value: Any, is_nan: Any) -> float:
    """Return a metric's value. SQLite has no NaN, and MLflow writes the largest number for infinity."""
    if is_nan:
        return math.nan
    if abs(value) >= _INFINITE:
        return math.copysign(math.inf, value)
    return float(value)


def _pairs(connection: sqlite3.Connection, table: str, key: str) -> dict[str, str]:
    rows = connection.execute(f"select key, value from {table} where run_uuid = ?", (key,))  # noqa: S608 - our own names
    return {name: value or "" for name, value in rows}
