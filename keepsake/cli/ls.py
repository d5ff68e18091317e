"""`keepsake ls` and `keepsake ps`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from keepsake.cli.opening import Settings, open_project
from keepsake.cli.options import Command, listing_options
from keepsake.cli.rendering import OLD_SECONDS, ago, labels, short_id, table, value_lines, write, write_json
from keepsake.compare.values import differing_names
from keepsake.listing.filters import Filter, parse_filter, parse_sort
from keepsake.listing.index import Summary
from keepsake.metadata import time_key, time_text
from keepsake.util import console
from keepsake.util.values import decode, escape_controls

LS_EXAMPLES = """
List all experiments in the current project:
$ keepsake ls

List experiments that have run for 50 steps or less:
$ keepsake ls --filter "step <= 50"

List experiments where the parameter "optimizer" is "adam" and
the best "accuracy" metric is greater than 0.8:
$ keepsake ls --filter "optimizer = adam" --filter "accuracy > 0.8"

Sort all stopped experiments by the metric "val_loss":
$ keepsake ls --sort "val_loss" --filter "status = stopped"

A filter or sort key names a metric of the best checkpoint, a param, or created, step,
user, host, command or status (running, stopped, failed, lost). Operators: = != < <= > >=
Also available as: keepsake list
"""
PS_EXAMPLES = """
List the running experiments:
$ keepsake ps

List those that do well so far, latest first:
$ keepsake ps --filter "val_loss < 0.2" --sort created-desc

Also available as: keepsake processes
"""


@click.command("ls", cls=Command, epilog=LS_EXAMPLES)
@listing_options
@click.pass_obj
def ls(settings: Settings, /, filters: Sequence[str], **options: Any) -> None:
    """List experiments in this project."""
    _list(settings, [parse_filter(text) for text in filters if text], **options)


@click.command("ps", cls=Command, epilog=PS_EXAMPLES)
@listing_options
@click.pass_obj
def ps(settings: Settings, /, filters: Sequence[str], **options: Any) -> None:
    """List running experiments in this project."""
    others = [each for each in map(parse_filter, filter(None, filters)) if each.name != "status"]
    _list(settings, [*others, parse_filter("status = running")], **options)


def _list(
    settings: Settings, filters: list[Filter], *, everything: bool, sort: str, as_json: bool, quiet: bool
) -> None:
    if quiet and (as_json or everything):
        other = "--json" if as_json else "--all"
        raise click.UsageError(f"Cannot use the --quiet flag in combination with {other}. Leave out one of them.")
    order = None if sort in ("", "created") else parse_sort(sort)  # summaries are already in this order
    summaries = open_project(settings).workplace.view.summaries([each.matches for each in filters])
    if order:
        summaries = order.apply(summaries)
    if quiet:
        write(escape_controls("".join([f"{summary.id}\n" for summary in summaries]), keep_newlines=True), newline=False)
    elif as_json:
        write_json([_json(summary) for summary in summaries])
    elif summaries:
        write(table(_rows(summaries, everything)))
    else:
        console.say("No experiments found")


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
    }


def _rows(summaries: list[Summary], everything: bool) -> list[Sequence[str]]:
    """Return the header and a row per experiment. Cells of several lines end in an empty one."""
    scalars = [_scalars(summary.params) for summary in summaries]
    params = _param_labels(scalars, everything)
    metrics = _metric_labels(summaries, everything)
    columns = {
        "EXPERIMENT": [short_id(summary.id) for summary in summaries],
        "STARTED": _started(summaries),
        "STATUS": [summary.status for summary in summaries],
    }
    if len({summary.host for summary in summaries}) > 1:
        columns["HOST"] = [escape_controls(summary.host) for summary in summaries]
    if len({summary.user for summary in summaries}) > 1:
        columns["USER"] = [escape_controls(summary.user) for summary in summaries]
    columns["PARAMS"] = [_cell(value_lines(values, params)) for values in scalars]
    if any(summary.best for summary in summaries):
        columns["BEST CHECKPOINT"] = [_checkpoint_cell(summary.best, metrics) for summary in summaries]
    columns["LATEST CHECKPOINT"] = [_checkpoint_cell(summary.latest, metrics) for summary in summaries]
    return [list(columns), *zip(*columns.values(), strict=True)]


def _started(summaries: list[Summary]) -> list[str]:
    """Return how long ago each experiment started. For most that is a date, and their keys begin with it."""
    recent = time_key(time_text(time.time() - OLD_SECONDS))
    return [each.created_key[:10] if each.created_key < recent else ago(each.created) for each in summaries]


def _cell(lines: list[str]) -> str:
    return "\n".join([*(lines or [""]), ""])


def _checkpoint_cell(checkpoint: Mapping[str, Any] | None, metrics: Mapping[str, str]) -> str:
    if checkpoint is None:
        return ""
    title = f"{short_id(checkpoint['id'])} (step {checkpoint['step']})"
    return _cell([title, *value_lines(decode(checkpoint["metrics"] or {}), metrics)])


def _scalars(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params without lists and dicts, which are too large for a listing."""
    return {name: value for name, value in params.items() if not isinstance(value, (dict, list))}


def _param_labels(scalars: list[dict[str, Any]], everything: bool) -> dict[str, str]:
    """Return the params to show: those that differ among the experiments that have them, or all."""
    names = differing_names(scalars)
    return labels(name for name, differs in names.items() if differs or everything)


def _metric_labels(summaries: list[Summary], everything: bool) -> dict[str, str]:
    """Return the metrics to show: the primary metrics of the best (or else latest) checkpoints, or all."""
    names: set[str] = set()
    for summary in summaries:
        checkpoint = summary.best or summary.latest
        if checkpoint and everything:
            names.update(checkpoint["metrics"] or ())
        elif checkpoint and checkpoint["primary_metric"]:
            names.add(checkpoint["primary_metric"]["name"])
    return labels(names)
