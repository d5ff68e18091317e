"""The columns in which people look at many runs: what differs between them, and how good they are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from keepsake.compare.values import Values, is_seed
from keepsake.display.table import Column
from keepsake.listing.fields import FIELDS, Field
from keepsake.listing.subjects import flatten, metrics_of
from keepsake.listing.summary import Summary
from keepsake.metadata import pick_best, time_text
from keepsake.util.ids import short_id
from keepsake.util.values import escape_controls, full_text, short_text, value_key

BEST = "*"  # marks the best value
_FLOAT_WIDTH = 12  # characters of a float from 100,000 on
_LONGEST = 500  # characters of a text that are looked at
_FIRST_PARAMS = 2  # they tell more than when a run began
_AS_IT_SHOULD = ("finished", "stopped")  # ends that need no reason
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Overview(NamedTuple):
    """How to show some runs.

    Attributes:
        columns: the columns, in order. The rank of each says how informative it is.
        same: the params that have the same value in all runs, name → value.
    """

    columns: list[Column]
    same: dict[str, Any]


def overview(runs: Sequence[Summary], *, everything: bool = False, mark: bool = True, dates: bool = False) -> Overview:
    """Choose the columns for some runs: which, when, what differs, and the best value of the primary metric.

    Args:
        runs: one a row.
        everything: show the params that are the same in all runs too, and all metrics.
        mark: mark the best value.
        dates: show when runs began, instead of how long ago.
    """
    values = [flatten(run.params) for run in runs]
    different, same = split_params(values)
    if everything or len(runs) == 1:
        different, same = [*different, *same], {}
    shown = [run.best or run.latest for run in runs]
    metrics = _metrics(runs, everything, mark and len(runs) > 1)
    params = [values_column(name, values) for name in different]
    _tell_apart(params, metrics)
    id_ = ids_column([run.id for run in runs])
    created = Column("created", "STARTED", lambda: [_time(run.created, dates) for run in runs], whole=True)
    status = Column("status", "STATUS", lambda: [run.status for run in runs], whole=True)
    people = [_field(runs, name) for name in ("host", "user") if len({getattr(run, name) for run in runs}) > 1]
    name = _unless_empty("name", "NAME", [escape_controls(run.name) for run in runs])
    tags = _unless_empty("tags", "TAGS", [escape_controls(", ".join(run.tags)) for run in runs])
    step = _unless_empty("step", "STEP", [str(checkpoint["step"]) if checkpoint else "" for checkpoint in shown])
    reason = _unless_empty("end_reason", "REASON", [_reason(run) for run in runs])
    first, others = params[:_FIRST_PARAMS], params[_FIRST_PARAMS:]
    by_rank = [id_, *metrics[:1], status, *name, *first, created, *step, *reason, *tags, *others, *metrics[1:]]
    for rank, column in enumerate([*by_rank, *people]):
        column.rank = rank
    params.sort(key=lambda column: column.title)
    return Overview([id_, *name, created, status, *people, *params, *metrics, *step, *tags, *reason], same)


def _tell_apart(params: Sequence[Column], metrics: Sequence[Column]) -> None:
    """Give columns the names that choose them, where a param, a metric or a field have the same name."""
    metric_names = {column.name for column in metrics}
    param_names = {column.name for column in params}
    for column in metrics:
        if column.name in param_names:
            column.title = f"metrics.{column.title}"
    for kind, columns, others in (("params", params, metric_names), ("metrics", metrics, set())):
        for column in columns:
            if column.name in others or column.name in FIELDS:
                column.name = f"{kind}.{column.name}"


def chosen(runs: Sequence[Summary], fields: Sequence[Field], *, dates: bool = False) -> list[Column]:
    """Return the columns that a person has chosen, after the ID. They are dropped from the last on."""
    others = [_chosen(runs, field, rank, dates) for rank, field in enumerate(fields, 1) if field.name != "id"]
    return [ids_column([run.id for run in runs]), *others]


def _chosen(runs: Sequence[Summary], field: Field, rank: int, dates: bool) -> Column:
    show: Callable[[Any], str] = {
        "id": lambda value: escape_controls(short_id(value)),
        "time": lambda value: _time(value, dates),
        "seconds": lambda value: str(timedelta(seconds=round(value))),
        "tags": lambda value: escape_controls(", ".join(value)),
    }.get(field.type, value_text)

    def make() -> list[str]:
        values = [field.value(run) for run in runs]
        return ["" if value is None else show(value) for value in values]

    title = field.name.upper() if field.kind == "field" else escape_controls(field.name)
    whole, only_text = field.type not in ("value", "text"), field.type in ("text", "id")
    return Column(field.name, title, make, rank, whole=whole, only_text=only_text)


def _time(moment: float, dates: bool) -> str:
    return time_text(moment)[:16].replace("T", " ") if dates else brief_ago(moment)


def split_params(runs: Sequence[Values]) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the params that differ, the most informative first, and the params that are the same in all.

    Lists and dicts are left out. A param tells much if it tells many pairs of runs apart. A text that is another one in
    each run, such as the name of a directory, tells little, and so does a seed.
    """
    different, same = [], {}
    for name, values in sorted(_by_name(runs).items()):
        counts = _counted(values)
        if len(counts) == 1 and len(values) == len(runs):
            same[name] = values[0]
            continue
        alike = sum(count * count for count in [*counts.values(), len(runs) - len(values)])
        is_label = len(counts) == len(runs) > 2 and all(isinstance(value, str) for value in values)
        different.append((is_seed(name), is_label, alike, name))
    return [name for *_, name in sorted(different)], same


def _by_name(runs: Sequence[Values]) -> dict[str, list[Any]]:
    """Return the values of each name but for lists and dicts. Runs with the same names are transposed in one go."""
    alike: dict[tuple[str, ...], list[Any]] = {}
    for params in runs:
        alike.setdefault(tuple(params), []).append(params.values())
    columns: dict[str, list[Any]] = {}
    for names, rows in alike.items():
        for name, values in zip(names, zip(*rows, strict=True), strict=True):
            if not {list, dict}.isdisjoint(map(type, values)):
                values = tuple(value for value in values if not isinstance(value, (list, dict)))
            if values:
                columns.setdefault(name, []).extend(values)
    return columns


def _counted(values: Sequence[Any]) -> Counter[Any]:
    """Count the values that mean the same. Most params have values of plain types, for which it is quicker."""
    is_plain = set(map(type, values)) <= {str, int, float} and not any(value != value for value in values)
    return Counter(values if is_plain else map(value_key, values))


def ids_column(ids: Sequence[str]) -> Column:
    """Return the column of the IDs of runs or checkpoints."""
    return Column("id", "ID", lambda: [escape_controls(short_id(id_)) for id_ in ids], whole=True, only_text=True)


def values_column(name: str, rows: Sequence[Values]) -> Column:
    """Return the column of one name in the values of each row. It is empty where a row does not have the name."""
    make = lambda: [value_text(values[name]) if name in values else "" for values in rows]  # noqa: E731
    return Column(name, escape_controls(name), make)


def value_text(value: Any) -> str:
    """Return a decoded value as a line of a table. Floats are rounded to 5 significant digits."""
    if isinstance(value, float):
        return short_text(value, _FLOAT_WIDTH)
    return escape_controls(full_text(value[:_LONGEST] if isinstance(value, str) else value))


def brief_ago(created: float) -> str:
    """Return how long ago a Unix time was, in at most 10 characters: `5s ago`, `3d ago`, or else the date in UTC."""
    seconds = time.time() - created
    for unit, length, most in (("s", 1, 100), ("m", _MINUTE, 100), ("h", _HOUR, 48), ("d", _DAY, 10)):
        count = int(abs(seconds) / length + 0.5)
        if count < most:
            return f"in {count}{unit}" if seconds <= -0.5 else f"{count}{unit} ago"
    return time_text(created)[:10]


def _field(runs: Sequence[Summary], name: str) -> Column:
    return Column(name, name.upper(), lambda: [escape_controls(getattr(run, name)) for run in runs], only_text=True)


def _unless_empty(name: str, title: str, cells: list[str]) -> list[Column]:
    column = Column(name, title, lambda: cells, sentences=name == "end_reason", only_text=name != "step")
    return [column] if any(cells) else []


def _reason(run: Summary) -> str:
    """Return why a run ended, if it did not end as it should."""
    text = run.error or run.end_reason or ""
    return "" if run.running or text in _AS_IT_SHOULD else escape_controls(text[:_LONGEST])


def _metrics(runs: Sequence[Summary], everything: bool, mark: bool) -> list[Column]:
    names, goals = main_metrics(runs, everything=everything)
    values = [_shown_metrics(run, everything) for run in runs]
    columns = []
    for name in names:
        column = values_column(name, values)
        if mark and name in goals:
            best = [metrics.get(name) if run.best else None for run, metrics in zip(runs, values, strict=True)]
            best_rows = pick_best(range(len(runs)), best, maximize=goals[name] == "maximize")
            column.make = _marked(column.make, best_rows)
        columns.append(column)
    return columns


def _shown_metrics(run: Summary, everything: bool) -> Values:
    return flatten(run.best_metrics if run.best and not everything else metrics_of(run))


def main_metrics(runs: Sequence[Summary], *, everything: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return the primary metrics, then all metrics of runs without one, the most frequent first; and known goals."""
    primary: Counter[str] = Counter()
    more: Counter[str] = Counter()
    goals: dict[str, str] = {}
    for run in runs:
        checkpoint = run.best or run.latest
        if declared := checkpoint and checkpoint["primary_metric"]:
            primary[declared["name"]] += 1
            goals.setdefault(declared["name"], str(declared.get("goal")))
        if checkpoint and (everything or not (run.best and declared)):
            more.update(list(_shown_metrics(run, everything)))
    return list(dict.fromkeys([*_by_count(primary), *_by_count(more)])), goals


def _by_count(names: Counter[str]) -> list[str]:
    return sorted(names, key=lambda name: (-names[name], name))


def _marked(make: Callable[[], Sequence[str]], best: Sequence[int]) -> Callable[[], Sequence[str]]:
    """Return a function that makes the same cells with a mark at the best ones."""

    def make_marked() -> list[str]:
        cells = list(make())
        for index in best:
            cells[index] += BEST
        return cells

    return make_marked
