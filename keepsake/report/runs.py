"""What the page knows of each run: fields, params, its best and latest checkpoint, and earlier metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keepsake.compare.values import is_seed
from keepsake.display.curves import differing, short_names
from keepsake.listing.subjects import earlier_metrics
from keepsake.metadata import Record, best_checkpoint, checkpoints_of, latest_checkpoint, primary_metric, time_seconds
from keepsake.report.payload import MAX_EXACT, Pool
from keepsake.util.ids import short_id
from keepsake.util.values import cut, decode, encode, full_text

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

MAX_TEXT = 2000  # characters of a text
_MAX_LONG_TEXT = 20_000  # of a traceback
_MAX_DEPTH = 20  # of params in params


def run_of(experiment: Experiment, record: Record, status: str, packages: Pool) -> dict[str, Any]:
    """Return an experiment, and its record, as the page's data has it. Times are Unix seconds."""
    records = checkpoints_of(record)
    best, latest, primary = best_checkpoint(records), latest_checkpoint(records), primary_metric(records)
    created = time_seconds(record["created"])
    ended = _seconds(record.get("ended"))
    last = ended if ended is not None else _seconds((latest or {}).get("created"))
    texts = {name: text(record.get(name)) or "" for name in ("user", "host", "command")}
    return {
        "id": experiment.id,
        "short": short_id(experiment.id),
        "created": created,
        "ended": ended,
        "name": text(record.get("name")),
        "notes": text(record.get("notes"), _MAX_LONG_TEXT),
        "parent": text(record.get("parent")),
        "tags": [cut(tag, MAX_TEXT) for tag in _list(record.get("tags")) if isinstance(tag, str)],
        "duration": None if last is None else round(last - created, 3),
        "status": status,
        "end_reason": text(record.get("end_reason")),
        "error": text(record.get("error")),
        "traceback": text(record.get("traceback"), _MAX_LONG_TEXT),
        **texts,
        "path": text(record.get("path")),
        "python_version": text(record.get("python_version")),
        "version": text(experiment.keepsake_version),
        "packages": packages.number(_packages(experiment)),
        "environment": dict(flat({name: record[name] for name in ("environment", "job") if record.get(name)})),
        "params": dict(flat(experiment.params or {})),
        "checkpoints": len(records),
        "step": (latest or {}).get("step") or 0,
        "primary": primary and {name: text(primary.get(name)) or "" for name in ("name", "goal")},
        "best": _checkpoint(best, created),
        "latest": _checkpoint(latest, created),
        "earlier": dict(flat(decode(earlier_metrics(records, latest)))),
    }


def _packages(experiment: Experiment) -> tuple[tuple[str, str], ...]:
    found = sorted((experiment.python_packages or {}).items())
    return tuple((name, cut(str(version), MAX_TEXT)) for name, version in found)


def metrics_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's metrics in the page: those of its best checkpoint, else the last recorded values."""
    best, latest = ((run[kind] or {}).get("metrics", {}) for kind in ("best", "latest"))
    return {**run["earlier"], **latest, **best}


def params_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return name → what the page knows of each param: a short name, and whether it differs or is a seed."""
    rows = [run["params"] for run in runs]
    names = list({name: None for row in rows for name in row})
    differs = set(differing(rows))
    short = short_names(names)
    return {name: {"short": short[name], "differs": name in differs, "seed": is_seed(name)} for name in names}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(value: object) -> float | None:
    try:
        return time_seconds(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _checkpoint(record: Record | None, created: float) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "short": short_id(record["id"]),
        "step": record.get("step") or 0,
        "time": round(time_seconds(record["created"]) - created, 3),
        "path": text(record.get("path")),
        "metrics": dict(flat(decode(record.get("metrics") or {}))),
    }


def text(value: object, limit: int = MAX_TEXT) -> str | None:
    """Return a text of at most `limit` characters; None if it is empty or not a text."""
    return cut(value, limit) if isinstance(value, str) and value else None


def flat(values: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield names and values. A dict in them becomes names with dots, such as `optimizer.lr`."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and depth < _MAX_DEPTH:
            yield from flat(value, f"{path}.", depth + 1)
        else:
            yield text(path) or "", _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON that JavaScript reads without loss; long ones are cut, with a text in their place."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_EXACT else str(value)
    if isinstance(value, (list, dict)):
        shown = full_text(value)
        return encode(value, "value") if len(shown) <= MAX_TEXT else cut(shown, MAX_TEXT)
    if isinstance(value, str):
        return cut(value, MAX_TEXT)
    return encode(value, "value")
