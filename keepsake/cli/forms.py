"""The forms in which `keepsake ls` gives what it has found: columns for people, JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keepsake.cli.listing import Wanted
from keepsake.listing.fields import Field
from keepsake.listing.subjects import flatten, metrics_of
from keepsake.listing.summary import Summary
from keepsake.metadata import Record, time_text
from keepsake.util import console
from keepsake.util.values import encode_mapping

if TYPE_CHECKING:
    from keepsake.compare.groups import Group
    from keepsake.display.overview import Overview


class Found(NamedTuple):
    """The runs to show, and what the chosen columns hold; without any, the columns are those that tell most."""

    runs: list[Summary]
    fields: list[Field]


class Groups(NamedTuple):
    """Groups of runs, and the metrics to show of them, the most informative first, with the goals that are known."""

    groups: list[Group[Summary]]
    metrics: list[str]
    goal: str


def columns_for_people(found: Found, wanted: Wanted, *, plain: bool = False) -> Overview:
    """Return the columns to show. `plain`: as for a paper: no mark at the best value, and dates instead of ages."""
    from keepsake.display.overview import Overview, chosen, overview

    if wanted.group is not None:
        from keepsake.display.grouped import grouped

        return grouped(*grouped_runs(found, wanted), mark=not plain)
    if found.fields:
        return Overview(chosen(found.runs, found.fields, dates=plain), {})
    return overview(found.runs, everything=wanted.everything, mark=not plain, dates=plain)


def grouped_runs(found: Found, wanted: Wanted) -> Groups:
    """Return the runs in groups, by the mean of the first metric, or in the order of the sort keys if there are any."""
    from keepsake.compare.groups import group_runs
    from keepsake.display.grouped import by_mean
    from keepsake.display.overview import main_metrics

    for field in found.fields:
        if field.kind != "metric":
            raise click.UsageError(f"--group shows metrics, and {field.name} is a {field.kind}. Leave it out.")
    metrics, goals = main_metrics(found.runs, everything=wanted.everything)
    if found.fields:
        metrics = [field.name for field in found.fields]
    groups = group_runs(
        found.runs,
        lambda run: flatten(run.params),
        lambda run: {field.name: field.value(run) for field in found.fields} or flatten(metrics_of(run)),
        wanted.apart_from,
    )
    if len(groups) == len(found.runs) > 1 and wanted.watch is None:
        what = ", ".join(wanted.apart_from) if wanted.apart_from else "seeds"
        console.say(f"No two experiments differ only in {what}. Name the params to average over: --group NAME,NAME.")
    goal = goals.get(metrics[0].removeprefix("best:"), "") if metrics else ""
    return Groups(by_mean(groups, metrics[0], goal) if goal and not wanted.sort else groups, metrics, goal)


# JSON


def json_of(found: Found, wanted: Wanted) -> list[dict[str, Any]]:
    """Return the runs, or groups of them, as plain values. The first fields of a run are those of 0.4.2."""
    if wanted.group is not None:
        return [_group_json(group) for group in grouped_runs(found, wanted).groups]
    return [_json(run) | _columns_json(run, found.fields) for run in found.runs]


def _json(summary: Summary) -> dict[str, Any]:
    return {
        "id": summary.id,
        "created": summary.created_text,
        "params": summary.raw_params or {},
        "command": summary.command,
        "num_checkpoints": summary.num_checkpoints,
        "latest_checkpoint": summary.latest,
        "best_checkpoint": summary.best,
        "user": summary.user,
        "host": summary.host,
        "running": summary.running,
        "status": summary.status,
        "ended": summary.ended,
        "end_reason": summary.end_reason,
        "error": summary.error,
        "name": summary.name,
        "tags": summary.tags,
        "notes": summary.notes,
        "parent": summary.parent,
    }


def _columns_json(run: Summary, fields: Sequence[Field]) -> dict[str, Any]:
    values = {field.name: _exact(field, run) for field in fields}
    return {"columns": encode_mapping(values, "columns")} if values else {}


def _group_json(group: Group[Summary]) -> dict[str, Any]:
    spreads = {
        name: {"mean": each.mean, "min": each.min, "max": each.max, "n": each.count}
        for name, each in group.metrics.items()
    }
    return {
        "params": encode_mapping(group.params, "params"),
        "n": len(group.runs),
        "experiments": [run.id for run in group.runs],
        "metrics": {name: encode_mapping(spread, name) for name, spread in spreads.items()},
    }


# CSV


def csv_of(found: Found, wanted: Wanted) -> dict[str, list[Any]]:
    """Return all that is known of the runs, or of groups of them, as columns: heading → exact values."""
    if wanted.group is not None:
        return _group_columns(grouped_runs(found, wanted))
    runs = found.runs
    if found.fields:
        ids = {"id": [run.id for run in runs]}
        return ids | {field.name: [_exact(field, run) for run in runs] for field in found.fields}
    best, latest = [run.best for run in runs], [run.latest for run in runs]
    return {
        "id": [run.id for run in runs],
        "created": [run.created_text for run in runs],
        **{name: [getattr(run, name) for run in runs] for name in ("name", "status", "ended", "end_reason", "error")},
        "tags": [", ".join(run.tags) for run in runs],
        **{name: [getattr(run, name) for run in runs] for name in ("user", "host", "command")},
        "checkpoints": [run.num_checkpoints for run in runs],
        **_checkpoint_columns("best", best),
        **_checkpoint_columns("latest", latest),
        **_spread("params.", [run.params for run in runs]),
        **_spread("best:", [run.best_metrics for run in runs]),
        **_spread("last:", [run.last_metrics for run in runs]),
    }


def _exact(field: Field, run: Summary) -> Any:
    """Return the value of a field with all digits, and times as text."""
    value = field.value(run)
    if field.name == "created":
        return run.created_text
    return time_text(value) if field.type == "time" and value is not None else value


def _checkpoint_columns(kind: str, checkpoints: Sequence[Record | None]) -> dict[str, list[Any]]:
    return {
        f"{kind}_checkpoint": [checkpoint and checkpoint["id"] for checkpoint in checkpoints],
        f"{kind}_step": [checkpoint and checkpoint["step"] for checkpoint in checkpoints],
    }


def _spread(prefix: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return a column for each name, with None where a row does not have it."""
    flat = [flatten(row) for row in rows]
    names = sorted({name for row in flat for name in row})
    return {prefix + name: [row.get(name) for row in flat] for name in names}


def _group_columns(found: Groups) -> dict[str, list[Any]]:
    groups = found.groups
    columns = _spread("params.", [group.params for group in groups]) | {"n": [len(group.runs) for group in groups]}
    for name in dict.fromkeys(name for group in groups for name in group.metrics):
        spreads = [group.metrics.get(name) for group in groups]
        for kind in ("mean", "min", "max"):
            columns[f"{kind}:{name}"] = [getattr(spread, kind) if spread else None for spread in spreads]
    return columns
