"""The layout of `keepsake ls` in 0.4.2, for scripts: cells of several lines, params and metrics as `name=value`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from keepsake.cli.rendering import OLD_SECONDS, ago, labels, short_id, table, value_lines
from keepsake.listing.fields import differing_names
from keepsake.listing.summary import Summary
from keepsake.metadata import time_key, time_text
from keepsake.util.values import decode, escape_controls


def tall_table(summaries: list[Summary], everything: bool) -> str:
    """Return the header and some lines per experiment. Cells of several lines end in an empty one."""
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
    return table([list(columns), *zip(*columns.values(), strict=True)])


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
