"""The columns in which people look at groups of runs: what sets the groups apart, and how their metrics scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keepsake.compare.groups import Group, Spread
from keepsake.display.overview import BEST, Overview, split_params, value_text, values_column
from keepsake.display.table import Column
from keepsake.metadata import pick_best
from keepsake.util.values import escape_controls

_FIRST_PARAMS = 3  # they tell more than how many runs there are


def grouped(groups: Sequence[Group[Any]], metrics: Sequence[str], goal: str = "", *, mark: bool = True) -> Overview:
    """Choose the columns for groups: the params that differ, how many runs, and mean, min and max of some metrics.

    Args:
        groups: one a row.
        metrics: the names of the metrics, the most informative first.
        goal: `maximize` or `minimize` the first of them; "": unknown.
        mark: mark the best mean.
    """
    values = [group.params for group in groups]
    different, same = split_params(values)
    if len(groups) == 1:
        different, same = [*different, *same], {}
    params = [values_column(name, values) for name in different]
    count = Column("n", "N", lambda: [_count(group, metrics) for group in groups], whole=True)
    pairs = [_spread_columns(groups, name, goal if mark and name == metrics[0] else "") for name in metrics]
    first = [column for pair in pairs[:1] for column in pair]
    others = [column for pair in pairs[1:] for column in pair]
    for rank, column in enumerate(
        [*first[:1], *params[:_FIRST_PARAMS], *first[1:], count, *params[_FIRST_PARAMS:], *others]
    ):
        column.rank = rank
    params.sort(key=lambda column: column.name)
    return Overview([*params, count, *first, *others], same)


def by_mean(groups: Sequence[Group[Any]], metric: str, goal: str) -> list[Group[Any]]:
    """Return the groups by their mean of a metric, the best first, and those without it last."""
    sign = -1 if goal == "maximize" else 1
    return sorted(groups, key=lambda g: (0, sign * g.metrics[metric].mean) if metric in g.metrics else (1, 0.0))


def _count(group: Group[Any], metrics: Sequence[str]) -> str:
    """Return how many runs there are, and how many of them have a number as their metric if not all do."""
    having = group.metrics[metrics[0]].count if metrics and metrics[0] in group.metrics else len(group.runs)
    return str(len(group.runs)) if having == len(group.runs) else f"{having} of {len(group.runs)}"


def _spread_columns(groups: Sequence[Group[Any]], name: str, goal: str) -> list[Column]:
    spreads = [group.metrics.get(name) for group in groups]
    means = [spread.mean if spread else None for spread in spreads]
    best = pick_best(range(len(groups)), means, maximize=goal == "maximize") if goal and len(groups) > 1 else []
    texts = ["" if mean is None else value_text(mean) for mean in means]
    texts = [text + BEST if index in best else text for index, text in enumerate(texts)]
    title = escape_controls(name)
    return [
        Column(f"mean:{name}", title, lambda: texts),
        Column(f"range:{name}", "MIN TO MAX", lambda: list(map(_range, spreads)), whole=True),
    ]


def _range(spread: Spread | None) -> str:
    if spread is None or spread.count == 1:
        return ""
    least, most = value_text(spread.min), value_text(spread.max)
    return least if least == most else f"{least} to {most}"
