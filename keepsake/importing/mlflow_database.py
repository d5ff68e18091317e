"""The database of MLflow, `mlflow.db`, which is SQLite."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import KeepsakeError
from keepsake.importing import mlflow
from keepsake.importing.database import has_tables, opened
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


def runs(database: Path, left_out: Counter[str]) -> Iterator[ForeignRun | KeepsakeError]:
    """Yield the runs of a database."""
    with opened(database) as connection:
        for table, what in _COUNTED.items():
            if connection.execute("select 1 from sqlite_master where name = ?", (table,)).fetchone():
                left_out[what] += connection.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608
        for row in connection.execute(_RUNS).fetchall():
            yield _run(connection, database, *row)


def _run(
    connection: sqlite3.Connection,
    database: Path,
    key: str,
    name: str | None,
    user: str | None,
    status: str,
    start: int | None,
    end: int | None,
    artifacts: str | None,
    stage: str,
    group: str | None,
) -> ForeignRun:
    run = ForeignRun(TOOL, key, database, name=name or "", user=user or "", group=group or "")
    if stage == "deleted":
        run.left_out["deleted runs"] += 1
        run.is_deleted = True
        return run
    run.created = None if start is None else start / 1000
    run.params = {name: typed(value) for name, value in _pairs(connection, "params", key).items()}
    points = (
        "select key, step, timestamp, value, is_nan from metrics where run_uuid = ? order by timestamp, step, rowid"
    )
    for metric, step, time, value, is_nan in connection.execute(points, (key,)):
        run.add(metric, step or 0, None if time is None else time / 1000, _value(value, is_nan))
    mlflow.end(run, status, end)
    mlflow.describe(run, _pairs(connection, "tags", key))
    mlflow.take_artifacts(run, _own_folder(database, artifacts), artifacts or "", database.parent)
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


def _own_folder(database: Path, uri: str | None) -> Path | None:
    """Return where a run's files are if the database was moved together with them: below the same last folders."""
    if not uri:
        return None
    parts = uri.rstrip("/").split("/")[-3:]  # experiment, run, "artifacts"
    for base in ("mlruns", "mlartifacts"):
        place = database.parent.joinpath(base, *parts)
        if ".." not in parts and place.is_dir():
            return place
    return None
