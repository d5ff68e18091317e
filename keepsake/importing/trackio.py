"""The databases of trackio, one per project, which are SQLite."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import KeepsakeError
from keepsake.importing.database import count_rows, files_of, has_tables, opened
from keepsake.importing.found import Found
from keepsake.importing.runs import ForeignRun

if TYPE_CHECKING:
    import sqlite3

TOOL = "trackio"
_TABLES = {"metrics", "configs"}
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_COUNTED = {
    "system_metrics": "system metrics",
    "traces": "traces",
    "alerts": "alerts",
    "artifact_versions": "artifacts",
}


def recognise(source: Path) -> Path | None:
    """Return the database at `source`, or the folder if there are some in it."""
    if source.is_file():
        return source if _is_database(source) else None
    return source if source.is_dir() and any(map(_is_database, source.glob("*.db"))) else None


def runs(source: Path, left_out: Counter[str]) -> Iterator[Found | KeepsakeError]:
    """Yield the runs of all projects."""
    for database in [source] if source.is_file() else sorted(source.glob("*.db")):
        try:
            if _is_database(database):
                yield from _runs(database, left_out)
        except KeepsakeError as error:
            yield error


def _is_database(path: Path) -> bool:
    return has_tables(path, _TABLES)


def _runs(database: Path, left_out: Counter[str]) -> Iterator[Found]:
    with opened(database) as connection:
        count_rows(connection, _COUNTED, left_out)
        # Older databases have no IDs.
        column = "run_id" if "run_id" in _columns(connection, "metrics") else "run_name"
        found = f"select {column}, max(run_name) from %s group by {column}"  # noqa: S608 - our own names
        names = dict(connection.execute(found % "configs").fetchall()) | dict(connection.execute(found % "metrics"))
    for key, name in names.items():
        yield Found(database, partial(_run, database, column, key, name or ""), files_of(database), str(key))


def _run(database: Path, column: str, key: str, name: str) -> ForeignRun:
    run = ForeignRun(TOOL, f"{database.stem}/{key}", database, name=name, group=database.stem)
    with opened(database) as connection:
        for (config,) in connection.execute(f"select config from configs where {column} = ?", (key,)):  # noqa: S608
            _take_config(run, _loaded(config))
        rows = f"select step, timestamp, metrics from metrics where {column} = ? order by id"  # noqa: S608
        for step, time, metrics in connection.execute(rows, (key,)):
            for metric, value in _loaded(metrics).items():
                _add(run, metric, step, _seconds(time), value)
    return run


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"pragma table_info({table})")}


def _take_config(run: ForeignRun, config: dict[str, Any]) -> None:
    run.user = str(config.get("_Username") or "")
    run.created = _seconds(config.get("_Created"))
    if config.get("_Group"):
        run.labels["group"] = str(config["_Group"])
    run.params = {name: value for name, value in config.items() if not name.startswith("_")}


def _add(run: ForeignRun, metric: str, step: int, time: float | None, value: Any) -> None:
    if isinstance(value, dict) and "_type" in value:
        run.left_out[f"media and tables ({value['_type']})"] += 1
    else:
        run.add(metric, step, time, _SPECIAL.get(value, value) if isinstance(value, str) else value)


def _loaded(text: str | bytes) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def _seconds(text: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))  # Python 3.10 does not know Z
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=timezone.utc).timestamp()
