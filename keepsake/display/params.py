"""The effect of params on a metric, drawn with Matplotlib: a scatter plot, and bars for their importance.

An experiment counts with the metric of its best checkpoint, or else its last value. All functions raise
ValidationError for unknown names and for values that cannot be drawn, and MissingExtra without Matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keepsake.display.axes import PALETTE, TITLE, are_numbers, current_axes, explain, plain, shades_by
from keepsake.display.bars import MAX_BARS, heading
from keepsake.display.curves import listed, number
from keepsake.display.placing import place_labels
from keepsake.display.results import Result, best_of, importances_of, make_results
from keepsake.exceptions import ValidationError
from keepsake.listing.fields import resolve
from keepsake.listing.subjects import WholeExperiment
from keepsake.util.console import warn
from keepsake.util.values import full_text, sort_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keepsake.experiment import Experiment

_MAX_LABELS, _MAX_TICKS = 15, 30  # points of a scatter plot with IDs; categories with names on an axis


def scatter(
    experiments: Sequence[Experiment],
    param: str,
    metric: str | None = None,
    *,
    logx: bool = False,
    logy: bool = False,
    color: str | None = None,
) -> Axes:
    """Plot a metric over a param, a point for each experiment, with colours by a third quantity."""
    metric, goal, results = make_results(experiments, metric)
    drawn, xs = _over(results, param, metric)
    categories = [x for x in dict.fromkeys(xs) if isinstance(x, str)]
    if logx and categories:
        raise ValidationError(f"Not all values of param {param!r} are numbers. Leave out logx.")
    found = None if color is None else shades_by(color, [result.experiment for result in drawn])
    axes = current_axes(param, metric, logx=logx, logy=logy)
    ys = [result.value for result in drawn]
    edge: dict[str, Any] = {"edgecolors": axes.get_facecolor(), "linewidths": 0.5}
    points = axes.scatter(xs, ys, s=36, alpha=0.85, c=found.colors if found else PALETTE[0], **edge)
    best = best_of(drawn, goal)
    if best is not None:
        own = points.get_facecolor()
        star = own[best if len(own) > 1 else 0]
        axes.plot(xs[best], ys[best], "*", color=star, markersize=15, markeredgecolor=axes.get_facecolor(), zorder=3)
    if categories:
        axes.set_xticks(categories[:: math.ceil(len(categories) / _MAX_TICKS)])
        axes.tick_params(axis="x", labelrotation=90 if sum(map(len, categories)) > 60 else 0)
    axes.margins(x=0.12, y=0.1)
    if found and color and drawn:
        explain(axes, found, color, marker="o")
    labels = {
        index: plain(f"{result.experiment.short_id()} (best)" if index == best else result.experiment.short_id())
        for index, result in enumerate(drawn)
        if len(drawn) <= _MAX_LABELS or index == best
    }
    place_labels(axes, points.get_offsets(), labels, first=best)
    return axes


def _over(results: list[Result], param: str, metric: str) -> tuple[list[Result], list[Any]]:
    """Return the experiments with both values, in order of the param, and their params: all numbers, or all texts."""
    field = resolve(param, [WholeExperiment(result.experiment) for result in results], "param")
    pairs, left_out = [], []
    for result in results:
        x = field.value(WholeExperiment(result.experiment))
        if x is None or (isinstance(x, float) and not math.isfinite(x)) or not math.isfinite(result.value):
            left_out.append(result.experiment.short_id())
        else:
            pairs.append((x, result))
    if left_out:
        warn(f"Left out, without param {param!r} or a number for {metric!r}: {listed(left_out)}.")
    pairs.sort(key=lambda pair: (sort_key(pair[0]), pair[1].value, pair[1].experiment.short_id()))
    xs = [x for x, _ in pairs]
    numeric = are_numbers(xs) or not xs
    return [result for _, result in pairs], [number(x, param) if numeric else plain(full_text(x)) for x in xs]


def importance(experiments: Sequence[Experiment], metric: str | None = None) -> Axes:
    """Draw a bar for each param that differs: how much of the metric's variance it explains, by itself."""
    results = make_results(experiments, metric)
    shares = importances_of(results)
    axes = current_axes("share of the variance that the param explains", "")
    names = list(shares)[:MAX_BARS]
    bars = axes.barh(range(len(names)), [shares[name] for name in names], color=PALETTE[0], height=0.7)
    axes.bar_label(bars, [f"{shares[name]:.2f}" for name in names], padding=4, fontsize="small")
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1.08), ylim=(len(names) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_title(plain(heading(results, len(shares)), TITLE), loc="left", fontsize="medium")
    return axes
